"""Pascal VOC: one xml file per image."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from rtvp.mmio.collector import IMAGE_SUFFIXES, Collector
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Box, Conversion


def convert_voc(
    root: Path, *, names: Mapping[str, str | None] | None = None, group_rule: GroupRule = "stem"
) -> Conversion:
    """Read every xml file under ``root``.

    The image is looked up by ``<filename>``, then by the xml's own name; of several the nearest counts:
    beside the xml, then in a sibling folder, then anywhere. Corners are taken without a 1-pixel shift.

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
        annotation = _parse(label)
        if annotation is None:
            collector.count("label file does not parse")
            continue
        named = collector.locate(label.parent, annotation.findtext("filename", default="") or label.stem)
        if named is None:
            continue
        candidates = images.get(_key(named.name)) or images.get(_key(label.stem))
        if not candidates:
            collector.count("label names a missing image")
            continue
        image = _nearest(candidates, label)
        labelled.add(image)
        boxes = _boxes(annotation)
        if boxes is None:
            collector.count("image skipped: malformed box")
        elif (size := collector.image_size(image)) is not None:
            collector.add(image, size, boxes)
    for path in (path for paths in images.values() for path in paths):
        if path not in labelled:
            collector.count("image without label file")
    return collector.conversion()


def _parse(label: Path) -> Element | None:
    try:
        return parse(label).getroot()
    except (ParseError, DefusedXmlException, ValueError, OSError):
        return None


def _key(name: str) -> str:
    """A file name without an image's extension; other dots belong to the name."""
    stem, dot, suffix = name.lower().rpartition(".")
    return stem if f".{suffix}" in IMAGE_SUFFIXES and dot else name.lower()


def _nearest(images: list[Path], label: Path) -> Path:
    def distance(image: Path) -> int:
        if image.parent == label.parent:
            return 0
        return 1 if image.parent.parent == label.parent.parent else 2

    return min(images, key=lambda image: (distance(image), image))


def _boxes(annotation: Element) -> list[tuple[str, Box]] | None:
    """Raw names and corners of all objects; None if one of them is not complete."""
    boxes: list[tuple[str, Box]] = []
    for item in annotation.iter("object"):
        name = item.findtext("name", default="").strip()
        try:
            x1, y1, x2, y2 = (
                float(item.findtext(f"bndbox/{side}", default=""))
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
        except ValueError:
            return None
        if not name or not all(map(math.isfinite, (x1, y1, x2, y2))):
            return None
        boxes.append((name, (x1, y1, x2, y2)))
    return boxes
