"""SageMaker Ground Truth: a manifest of one json object per line, with mask images and boxes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvp.mmio.collector import UNREADABLE_IMAGE, Collector, reason_unreadable
from rtvp.mmio.converters.components import find_components, fit_mask
from rtvp.mmio.converters.lookup import ImageLookup
from rtvp.mmio.converters.mask_pixels import Colour, masks_by_colour, parse_colour, read_colours
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Annotation, Box, Conversion

_BUCKET = re.compile(r"s3://[^/]+/")
_BACKGROUND = "BACKGROUND"  # the format's own name for what is no class


@dataclass(slots=True)
class _Record:
    """What one line says about one image; paths as stated, without the bucket."""

    line: int
    image: str
    masks: list[tuple[str, dict[Colour, str]]] = field(default_factory=list)  # path, class names by colour
    boxes: list[tuple[str, Box]] = field(default_factory=list)
    has_boxes: bool = False  # it was asked for boxes, whether or not there are any
    classes: list[str] = field(default_factory=list)  # of the whole image


@dataclass(frozen=True, slots=True)
class _Options:
    good_classes: frozenset[str]
    tolerance: int
    min_area: int
    masks: bool


def convert_manifest(
    root: Path,
    *,
    manifests: str | Sequence[str] = "**/*.manifest",
    good_classes: Sequence[str] = ("normal",),
    tolerance: int = 2,
    min_area: int = 9,
    masks: bool = False,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
) -> Conversion:
    """Read every manifest under ``root``: masks of semantic segmentation, and boxes of object detection.

    A mask's pixels belong to the class of the manifest's colour map that has their colour; every 8-connected
    component is one defect. Images are found by the ends of their paths, as these lead to another machine.

    Args:
        root: folder of the set.
        manifests: glob, or several, of the manifests below ``root``.
        good_classes: an image that a classification gives one of these, and that has no mask, is good.
        tolerance: how far each colour channel may be from the class's.
        min_area: px; smaller components are dropped.
        masks: keep the pixels of the components.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    lookup = ImageLookup(collector)
    options = _Options(frozenset(good_classes), tolerance, min_area, masks)
    listed: set[Path] = set()
    labels = collector.files(None, manifests)
    if not labels:
        collector.count("no annotation file found")
    for label in labels:
        records = _read_records(collector, label)
        image_base = lookup.base(label, [record.image for record in records], may_drop=True)
        mask_base = lookup.base(
            label, [path for record in records for path, _ in record.masks], may_drop=True
        )
        for record in records:
            image = lookup.find(image_base, record.image, label, record.line)
            if image is None:
                continue
            mask_files = [lookup.find(mask_base, path, label, record.line) for path, _ in record.masks]
            listed.update([image], (mask for mask in mask_files if mask is not None))
            if (size := collector.image_size(image)) is None:
                continue
            defects = _defects(collector, record, mask_files, size, options)
            if defects is not None:
                collector.add(image, size, defects)
    for path in lookup.files:
        if path not in listed:
            collector.count("image that no label names")
    return collector.conversion()


def _read_records(collector: Collector, label: Path) -> list[_Record]:
    """All lines of a manifest that can be read; the others are reported."""
    records = []
    for number, line in enumerate((collector.read_text(label) or "").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(_read_record(number, json.loads(line)))
        except json.JSONDecodeError as error:
            what = f"expected a json object per line: {error.msg}"
            collector.report_broken("label line does not parse", label, number, what)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            what = f"expected a Ground Truth record: {type(error).__name__} {error}"
            collector.report_broken("label line does not parse", label, number, what[:160])
    return records


def _read_record(number: int, content: Any) -> _Record:
    """One line of a manifest.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, OverflowError: it is not what the format says.
    """
    record = _Record(number, _BUCKET.sub("", content["source-ref"]))
    for key, value in content.items():
        metadata = content.get(f"{key}-metadata")
        kind = metadata.get("type") if metadata is not None else None
        if kind == "groundtruth/semantic-segmentation":
            colour_map = metadata["internal-color-map"].values()
            colours = {parse_colour(entry["hex-color"]): str(entry["class-name"]) for entry in colour_map}
            named = {colour: name for colour, name in colours.items() if name != _BACKGROUND}
            record.masks.append((_BUCKET.sub("", value), named))
        elif kind == "groundtruth/object-detection":
            record.has_boxes = True
            names = metadata["class-map"]
            record.boxes += [
                (str(names[str(box["class_id"])]), _read_box(box)) for box in value["annotations"]
            ]
        elif kind == "groundtruth/image-classification":
            record.classes.append(str(metadata["class-name"]))
    return record


def _read_box(stated: Mapping[str, Any]) -> Box:
    x, y, width, height = (float(stated[side]) for side in ("left", "top", "width", "height"))
    box = (x, y, x + width, y + height)
    if not all(map(math.isfinite, box)):
        raise ValueError(f"a box of {x}, {y}, {width}, {height}")
    return box


def _defects(
    collector: Collector,
    record: _Record,
    mask_files: Sequence[Path | None],
    size: tuple[int, int],
    options: _Options,
) -> list[Annotation] | None:
    """All defects of one image; None, counted, if there is nothing to go by."""
    found = [Annotation(name, box) for name, box in record.boxes]
    for mask_file, (_, colours) in zip(mask_files, record.masks, strict=True):
        if mask_file is None:
            collector.count("image without mask")
            return None
        try:
            pixels = read_colours(mask_file)
        except UNREADABLE_IMAGE as error:
            collector.report_broken("mask does not open", mask_file, None, reason_unreadable(error))
            return None
        by_name = masks_by_colour(fit_mask(collector, pixels, size), colours, options.tolerance)
        components = [
            component
            for name, mask in by_name.items()
            for component in find_components(collector, mask, name, options.min_area, options.masks)
        ]
        if by_name and not components:
            collector.count("image skipped: mask without a usable component")
            return None
        found += components
    labelled = bool(record.classes or record.masks) or record.has_boxes
    if found or (labelled and options.good_classes.issuperset(record.classes)):
        return found
    collector.count("image skipped: no mask and no box, but not said to be good")
    return None
