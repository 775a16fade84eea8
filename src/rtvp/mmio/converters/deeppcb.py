"""DeepPCB (Tang et al. 2019): tested boards with labels as pixel corners, and their templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtvp.mmio.collector import Collector
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Annotation, Conversion

# Types 1 to 6 of the set's README.
DEEPPCB_TYPES = ("open circuit", "short circuit", "mouse bite", "spur", "spurious copper", "pin hole")


def convert_deeppcb(
    root: Path,
    *,
    templates: bool = True,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "pcb_pair",
) -> Conversion:
    """Read the ``image label`` pairs of every trainval.txt and test.txt under ``root``.

    A listed ``<id>.jpg`` lies on disk as ``<id>_test.jpg``. A label line is ``x1 y1 x2 y2 type`` in pixels.

    Args:
        root: folder of the set.
        templates: take the ``<id>_temp.jpg`` templates as good images.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    existing = set(collector.files({".jpg", ".txt"}))
    for image, label in _listed_pairs(collector):
        if image not in existing:
            collector.count("list names a missing image")
        elif label not in existing:
            collector.count("image without label file")
        elif (defects := _read_label(collector, label)) is None:
            continue
        elif (size := collector.image_size(image)) is not None:
            collector.add(image, size, defects)
    for template in collector.files({".jpg"}, "**/*_temp.jpg") if templates else []:
        if (size := collector.image_size(template)) is not None:
            collector.add(template, size, [])
    return collector.conversion()


def _listed_pairs(collector: Collector) -> list[tuple[Path, Path]]:
    pairs: dict[tuple[Path, Path], None] = {}
    for listing in collector.files({".txt"}, "**/trainval.txt") + collector.files({".txt"}, "**/test.txt"):
        for number, line in enumerate((collector.read_text(listing) or "").splitlines(), start=1):
            entries = line.split()
            if len(entries) != 2:
                if entries:
                    what = f"expected the paths of an image and its label, got {line.strip()[:80]!r}"
                    collector.report_broken("malformed list line", listing, number, what)
                continue
            image, label = (collector.locate(listing.parent, entry, listing, number) for entry in entries)
            if image is not None and label is not None:
                pairs[image.with_name(f"{image.stem}_test{image.suffix}"), label] = None
    return sorted(pairs)


def _read_label(collector: Collector, path: Path) -> list[Annotation] | None:
    """All defects of a label file; None, reported, if one of its lines is not a label."""
    if (text := collector.read_text(path)) is None:
        return None
    defects = []
    for number, line in enumerate(text.splitlines(), start=1):
        values = line.replace(",", " ").split()
        if not values:
            continue
        try:
            x1, y1, x2, y2, kind = (int(value) for value in values)
            box = (float(x1), float(y1), float(x2), float(y2))
        except (ValueError, OverflowError):
            kind = 0
        if not 1 <= kind <= len(DEEPPCB_TYPES):
            what = f"expected 4 whole numbers and a type of 1 to 6, got {line.strip()[:80]!r}"
            problem = "image skipped: malformed label line or unknown type"
            collector.report_broken(problem, path, number, what)
            return None
        defects.append(Annotation(DEEPPCB_TYPES[kind - 1], box))
    return defects
