"""Run lengths in a csv file, as in the Severstal steel competition: a row per image and class."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtvp.mmio.collector import Collector
from rtvp.mmio.converters.components import find_components
from rtvp.mmio.converters.lookup import ImageLookup
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.rle import runs_to_mask
from rtvp.mmio.schema import Annotation, Conversion

_IMAGE, _CLASS, _RUNS = "ImageId", "ClassId", "EncodedPixels"
_IMAGE_AND_CLASS = "ImageId_ClassId"  # of the older table: "0002cc93b.jpg_1"


@dataclass(frozen=True, slots=True)
class _Row:
    file: Path
    line: int
    category: str
    runs: str


def convert_rle_csv(
    root: Path,
    *,
    table: str = "train.csv",
    images: str = "train_images",
    unlisted: Literal["good", "skip"] = "good",
    min_area: int = 9,
    masks: bool = False,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
) -> Conversion:
    """Read a table of ``ImageId,ClassId,EncodedPixels``, or ``ImageId_ClassId,EncodedPixels``.

    ``EncodedPixels`` are pairs of a start (from 1, down the columns) and a length; without any, the image
    does not show the class. Every 8-connected component of a class is one defect; raw names are class ids.

    Args:
        root: folder of the set.
        table: the csv file below ``root``.
        images: folder of the images below ``root``.
        unlisted: what an image is that the table does not name.
        min_area: px; smaller components are dropped.
        masks: keep the pixels of the components.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    lookup = ImageLookup(collector, images)
    labels = collector.files({".csv"}, table)
    if not labels:
        collector.count("no annotation file found")
    rows: dict[Path, list[_Row]] = defaultdict(list)
    for label in labels:
        base = lookup.base(label, [])
        for image_name, row in _read_rows(collector, label):
            image = lookup.find(base, image_name, label, row.line)
            if image is not None:
                rows[image].append(row)
    folder = root / images
    for image in lookup.files if labels else ():
        if image not in rows and (unlisted == "skip" or not image.is_relative_to(folder)):
            collector.count("image that no label names")
        elif (size := collector.image_size(image)) is not None:
            defects = _defects(collector, rows.get(image, []), size, min_area, masks)
            if defects is not None:
                collector.add(image, size, defects)
    return collector.conversion()


def _read_rows(collector: Collector, label: Path) -> Iterator[tuple[str, _Row]]:
    """Image name and the rest of every row that can be read; the others are reported."""
    reader = csv.DictReader((collector.read_text(label) or "").splitlines())
    problem = "label line does not parse"
    try:
        columns = set(reader.fieldnames or ())
        if not (columns >= {_IMAGE, _CLASS, _RUNS} or columns >= {_IMAGE_AND_CLASS, _RUNS}):
            what = (
                f"expected the columns {_IMAGE}, {_CLASS}, {_RUNS}, got {', '.join(sorted(columns))[:80]!r}"
            )
            collector.report_broken(problem, label, 1, what)
            return
        for content in reader:
            if _IMAGE_AND_CLASS in columns:
                image, _, category = (content[_IMAGE_AND_CLASS] or "").rpartition("_")
            else:
                image, category = content[_IMAGE] or "", content[_CLASS] or ""
            if image and category and content[_RUNS] is not None:
                yield image, _Row(label, reader.line_num, category.strip(), content[_RUNS])
            else:
                what = f"expected an image, a class and run lengths, got {str(content)[:80]}"
                collector.report_broken(problem, label, reader.line_num, what)
    except csv.Error as error:
        collector.report_broken(problem, label, reader.line_num, f"expected csv: {error}")


def _defects(
    collector: Collector, rows: Sequence[_Row], size: tuple[int, int], min_area: int, masks: bool
) -> list[Annotation] | None:
    """The defects of one image; None, counted, if a row is malformed or nothing of it is usable."""
    found: list[Annotation] = []
    marked = [row for row in rows if row.runs.strip()]
    for row in marked:
        try:
            mask = runs_to_mask(row.runs, size)
        except ValueError as error:
            problem = "image skipped: malformed run lengths"
            collector.report_broken(problem, row.file, row.line, str(error))
            return None
        found += find_components(collector, mask, row.category, min_area, masks)
    if marked and not found:
        collector.count("image skipped: mask without a usable component")
        return None
    return found
