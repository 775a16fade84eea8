"""COCO: one json document for many images."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvp.mmio.collector import MAX_PIXELS, Collector
from rtvp.mmio.converters.json_text import JsonMembers
from rtvp.mmio.converters.lookup import ImageLookup
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.rle import box_of_counts, encode_counts, encode_polygons, parse_counts
from rtvp.mmio.schema import Annotation, Box, Conversion

_PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item of ``images``."""

    line: int
    file_name: str
    declared: tuple[Any, Any]  # width and height


@dataclass(frozen=True, slots=True)
class _Defect:
    """An item of ``annotations``; ``segmentation`` is None where it is not needed."""

    line: int
    category: Any
    box: Box | None
    segmentation: Any


@dataclass(slots=True)
class _Document:
    """What one json file says. Ids are whatever the file uses: from 0, with gaps, numbers or texts."""

    categories: dict[Any, str] = field(default_factory=dict)
    images: dict[Any, _Entry] = field(default_factory=dict)
    defects: dict[Any, list[_Defect]] = field(default_factory=lambda: defaultdict(list))
    faulty: set[Any] = field(default_factory=set)  # ids of images with a malformed box
    crowded: set[Any] = field(default_factory=set)  # ids of images with a crowd box that was dropped


def convert_coco(
    root: Path,
    *,
    annotations: str | Sequence[str] = "**/*.json",
    images: str | None = None,
    crowds: bool = False,
    masks: bool = False,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
) -> Conversion:
    """Read every COCO document under ``root``.

    ``bbox`` is what counts; where it has no area, the bounds of the segmentation (polygons of one or several
    parts, plain or compressed run lengths) stand in. ``area`` is not read: tools write negative ones.

    Args:
        root: folder of the set.
        annotations: glob, or several, of the json files below ``root``.
        images: folder of the images below ``root``; None: for each json file the one folder in which most of
            its images lie.
        crowds: keep boxes that are marked ``iscrowd``; if not, an image that has no other is left out.
        masks: keep the segmentations.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    lookup = ImageLookup(collector, images)
    labelled: set[Path] = set()
    files = collector.files({".json"}, annotations)
    if not files:
        collector.count("no annotation file found")
    for label in files:
        document = _read_document(collector, label, crowds, masks)
        if document is not None:
            labelled |= _add_images(collector, lookup, label, document, masks)
    for path in lookup.files:
        if path not in labelled:
            collector.count("image without label file")
    return collector.conversion()


def _read_document(collector: Collector, label: Path, crowds: bool, masks: bool) -> _Document | None:
    """What ``label`` holds; None, counted or reported, if it is not COCO or does not parse."""
    if (text := collector.read_text(label)) is None:
        return None
    document = _Document()
    members = JsonMembers(text, _PARTS)
    reader = _Reader(collector, label, document, crowds, masks)
    try:
        for key, line, value in members:
            if key in _PARTS:
                reader.add(key, line, value)
    except json.JSONDecodeError as error:
        collector.report_broken(
            "label file does not parse", label, error.lineno, f"expected json: {error.msg}"
        )
        return None
    if not members.keys.issuperset(_PARTS[:2]):
        collector.count("json file is not COCO")
        return None
    return document


@dataclass(frozen=True, slots=True)
class _Reader:
    """Puts the items of a json file into ``document``, in whatever order they come."""

    collector: Collector
    label: Path
    document: _Document
    crowds: bool
    masks: bool

    def add(self, key: str, line: int, item: Any) -> None:
        try:
            if key == "images":
                self._add_image(line, item)
            elif key == "annotations":
                self._add_defect(line, item)
            else:
                self.document.categories[_id_of(item, "id")] = str(item["name"])
        except (KeyError, TypeError) as error:
            lacking = f"got none ({error})" if isinstance(error, KeyError) else f"got {str(item)[:80]!r}"
            what = f"expected an object with all fields of {key}, {lacking}"
            self.collector.report_broken("malformed item of a label file ignored", self.label, line, what)

    def _add_image(self, line: int, item: Any) -> None:
        entry = _Entry(line, str(item["file_name"]), (item.get("width"), item.get("height")))
        image = _id_of(item, "id")
        if image in self.document.images:
            what = f"expected every image id once, got {image!r} again"
            self.collector.report_broken("malformed item of a label file ignored", self.label, line, what)
            return
        self.document.images[image] = entry

    def _add_defect(self, line: int, item: Any) -> None:
        image, category = _id_of(item, "image_id"), _id_of(item, "category_id")
        if item.get("iscrowd") and not self.crowds:
            self.collector.count("crowd box dropped")
            self.document.crowded.add(image)
            return
        stated = item.get("bbox")
        box = _read_box(stated)
        if box is None and stated not in (None, []):
            what = f"expected 4 finite numbers in bbox, got {str(stated)[:80]}"
            self.collector.report_broken("malformed box", self.label, line, what)
            self.document.faulty.add(image)
            return
        if box is not None and (box[2] <= box[0] or box[3] <= box[1]) and item.get("segmentation"):
            box = None
        segmentation = item.get("segmentation") if self.masks or box is None else None
        self.document.defects[image].append(_Defect(line, category, box, segmentation))


def _id_of(item: Any, key: str) -> int | float | str:
    value = item[key]
    if not isinstance(value, int | float | str):
        raise TypeError(f"{key} is no number and no text")
    return value


def _read_box(stated: Any) -> Box | None:
    """xyxy of a box that is stated as x, y, width, height; None if it is no such box."""
    if not isinstance(stated, list) or len(stated) != 4:
        return None
    try:
        x, y, width, height = map(float, stated)
    except (TypeError, ValueError, OverflowError):
        return None
    box = (x, y, x + width, y + height)
    return box if all(map(math.isfinite, box)) else None


def _add_images(
    collector: Collector, lookup: ImageLookup, label: Path, document: _Document, masks: bool
) -> set[Path]:
    """Hand the images of ``document`` over; returns those that were found on disk."""
    base = lookup.base(label, [entry.file_name for entry in document.images.values()])
    found = set()
    for image_id, entry in document.images.items():
        defects = document.defects.pop(image_id, [])
        path = lookup.find(base, entry.file_name, label, entry.line)
        if path is None:
            continue
        found.add(path)
        size = collector.image_size(path)
        if size is None or not collector.accepts_declared_size(label, entry.line, entry.declared, size):
            continue
        if image_id in document.faulty:
            collector.count("image skipped: malformed box")
        elif image_id in document.crowded and not defects:
            collector.count("image skipped: only crowd boxes")
        elif (annotations := _annotations(collector, label, document, defects, size, masks)) is not None:
            collector.add(path, size, annotations)
    for image_id, defects in document.defects.items():  # what is left
        what = f"expected the id of an image, got {str(image_id)[:80]}"
        for defect in defects:
            collector.report_broken("box of an unknown image", label, defect.line, what)
    return found


def _annotations(
    collector: Collector,
    label: Path,
    document: _Document,
    defects: Sequence[_Defect],
    size: tuple[int, int],
    masks: bool,
) -> list[Annotation] | None:
    """The defects of one image; None, reported, if one of them cannot be told."""
    found = []
    for defect in defects:
        if defect.category not in document.categories:
            what = f"expected the id of a category, got {str(defect.category)[:80]}"
            collector.report_broken("image skipped: undefined class id", label, defect.line, what)
            return None
        try:
            bounds, mask = _read_segmentation(defect.segmentation, size, masks)
        except (TypeError, ValueError, OverflowError) as error:
            what = f"expected polygons or run lengths: {error}"
            collector.report_broken("malformed segmentation", label, defect.line, what[:160])
            bounds = mask = None
        box = defect.box or bounds
        if box is None:
            what = "expected 4 numbers in bbox, or a segmentation that covers pixels, got neither"
            problem = "image skipped: box without coordinates"
            collector.report_broken(problem, label, defect.line, what)
            return None
        found.append(Annotation(document.categories[defect.category], box, mask))
    return found


def _read_segmentation(
    segmentation: Any, size: tuple[int, int], masks: bool
) -> tuple[Box | None, str | None]:
    """Bounds and, if asked for, mask of a segmentation; None for what it does not say.

    Raises:
        ValueError, TypeError, OverflowError: it is malformed.
    """
    if not segmentation:
        return None, None
    if isinstance(segmentation, dict):
        height, width = map(int, segmentation["size"]) if "size" in segmentation else (0, 0)
        if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
            raise ValueError(f"the size of an image, got {width} x {height}")
        counts = parse_counts(segmentation.get("counts"), (width, height))
        fits = masks and (width, height) == size
        return box_of_counts(counts, (width, height)), encode_counts(counts) if fits else None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    values = [[float(value) for value in polygon] for polygon in polygons if polygon]
    if not values or any(len(polygon) % 2 for polygon in values):
        raise ValueError("pairs of x and y in a polygon, got an odd number of values or none")
    xs = [x for polygon in values for x in polygon[0::2]]
    ys = [y for polygon in values for y in polygon[1::2]]
    if not all(map(math.isfinite, [*xs, *ys])):
        raise ValueError("finite numbers in a polygon")
    box = (min(xs), min(ys), max(xs), max(ys))
    return box, encode_polygons(values, size) if masks else None
