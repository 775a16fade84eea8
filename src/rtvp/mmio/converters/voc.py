"""Pascal VOC: one xml file per image."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError
from xml.parsers.expat import ErrorString

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from rtvp.mmio.collector import IMAGE_SUFFIXES, Collector
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Annotation, Conversion


def convert_voc(
    root: Path, *, names: Mapping[str, str | None] | None = None, group_rule: GroupRule = "stem"
) -> Conversion:
    """Read every xml file under ``root``.

    The image is looked up by ``<filename>``, then by the xml's own name; of several the nearest counts:
    beside the xml, then in a folder of the same name (``JPEGImages/part7`` for ``Annotations/part7``), then
    in a sibling folder, then anywhere. Corners are taken without a 1-pixel shift.

    Args:
        root: folder of the set.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    images: dict[str, list[Path]] = defaultdict(list)
    for path in collector.files(IMAGE_SUFFIXES):
        images[_key(path.name)].append(path)
    labelled: set[Path] = set()
    for label in collector.files({".xml"}):
        data = label.read_bytes()
        annotation = _parse(collector, label, data)
        if annotation is None:
            continue
        file_name = annotation.findtext("filename", default="") or label.stem
        named = collector.locate(label.parent, file_name, label, _line_of(data, "filename"))
        if named is None:
            continue
        candidates = images.get(_key(named.name)) or images.get(_key(label.stem))
        if not candidates:
            collector.count("label names a missing image")
            continue
        image = _nearest(candidates, label)
        labelled.add(image)
        defects = _defects(collector, label, data, annotation)
        if defects is None or (size := collector.image_size(image)) is None:
            continue
        declared = (annotation.findtext("size/width"), annotation.findtext("size/height"))
        if collector.accepts_declared_size(label, _line_of(data, "size"), declared, size):
            collector.add(image, size, defects)
    for path in (path for paths in images.values() for path in paths):
        if path not in labelled:
            collector.count("image without label file")
    return collector.conversion()


def _parse(collector: Collector, label: Path, data: bytes) -> Element | None:
    """The root of an xml file; None, reported, if it does not parse or could unfold into something else."""
    try:
        return fromstring(data)
    except ParseError as error:
        line, what = error.position[0], f"expected xml: {ErrorString(error.code)}"
    except DefusedXmlException as error:
        line, what = _line_of(data, "!ENTITY"), f"expected xml without entities, got {type(error).__name__}"
    except (ValueError, LookupError) as error:  # an encoding that is not known
        line, what = 1, f"expected xml: {error}"
    collector.report_broken("label file does not parse", label, line, what)
    return None


def _line_of(data: bytes, tag: str, index: int = 0) -> int:
    """The line of the start of a tag, the first or a later one of its kind; 1 if it is not there."""
    starts = [match.start() for match in re.finditer(rb"<" + tag.encode() + rb"[\s>/]", data)]
    return data.count(b"\n", 0, starts[index]) + 1 if index < len(starts) else 1


def _key(name: str) -> str:
    """A file name without an image's extension; other dots belong to the name."""
    stem, dot, suffix = name.lower().rpartition(".")
    return stem if f".{suffix}" in IMAGE_SUFFIXES and dot else name.lower()


def _nearest(images: list[Path], label: Path) -> Path:
    def distance(image: Path) -> tuple[bool, int, bool]:
        pairs = zip(reversed(image.parent.parts), reversed(label.parent.parts), strict=False)
        same_folders = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return image.parent != label.parent, -same_folders, image.parent.parent != label.parent.parent

    return min(images, key=lambda image: (distance(image), image))


def _defects(collector: Collector, label: Path, data: bytes, annotation: Element) -> list[Annotation] | None:
    """All objects under their raw names; None, reported, if one of them is not complete."""
    defects = []
    for index, item in enumerate(annotation.iter("object")):
        name = item.findtext("name", default="").strip()
        sides = [item.findtext(f"bndbox/{side}", default="") for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x1, y1, x2, y2 = map(float, sides)
        except ValueError:
            x1 = y1 = x2 = y2 = math.nan
        if not name or not all(map(math.isfinite, (x1, y1, x2, y2))):
            line = _line_of(data, "object", index)
            what = f"expected a name and 4 finite numbers, got {name[:40]!r} and {', '.join(sides)[:80]!r}"
            collector.report_broken("image skipped: malformed box", label, line, what)
            return None
        defects.append(Annotation(name, (x1, y1, x2, y2)))
    return defects
