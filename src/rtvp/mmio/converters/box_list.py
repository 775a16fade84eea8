"""Tables of boxes: one record per box, as a json list or a csv file with a header."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rtvp.mmio.collector import Collector
from rtvp.mmio.converters.json_text import read_items
from rtvp.mmio.converters.lookup import ImageLookup
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Annotation, Box, Conversion


def convert_box_list(
    root: Path,
    *,
    table: str | Sequence[str],
    image: str = "name",
    category: str = "defect_name",
    box: str | Sequence[str] = "bbox",
    box_form: Literal["xyxy", "xywh"] = "xyxy",
    images: str | None = None,
    good_folders: Sequence[str] = (),
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
) -> Conversion:
    """Read a list of boxes, each with its image, as the Tianchi fabric competition's ``anno_train.json``.

    Args:
        root: folder of the set.
        table: glob, or several, of the json or csv files below ``root``.
        image: the field of the image's path.
        category: the field of the raw category.
        box: the field of the four coordinates, or four fields, in pixels.
        box_form: corners, or a corner with width and height.
        images: folder of the images below ``root``; None: for each table the one in which most of them lie.
        good_folders: images below a folder of this name are good if no table names them.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    lookup = ImageLookup(collector, images)
    labels = collector.files({".json", ".csv"}, table)
    if not labels:
        collector.count("no annotation file found")
    found: dict[Path, list[Annotation]] = defaultdict(list)
    faulty: set[Path] = set()
    for label in labels:
        records = [(line, record) for line, record in _read_records(collector, label)]
        stated = [str(record[image]) for _, record in records if record.get(image)]
        base = lookup.base(label, stated)
        for line, record in records:
            path = lookup.find(base, str(record.get(image) or ""), label, line)
            if path is None:
                continue
            name = str(record.get(category) or "").strip()
            corners = _read_box(record, box, box_form)
            if name and corners is not None:
                found[path].append(Annotation(name, corners))
                continue
            faulty.add(path)
            what = f"expected a category and 4 finite numbers, got {str(record)[:100]}"
            collector.report_broken("malformed box", label, line, what)
    for path in lookup.files:
        is_good = not set(good_folders).isdisjoint(path.relative_to(root).parts[:-1])
        if path in faulty:
            collector.count("image skipped: malformed box")
        elif path not in found and not is_good:
            collector.count("image that no label names")
        elif (size := collector.image_size(path)) is not None:
            collector.add(path, size, found.get(path, []))
    return collector.conversion()


def _read_records(collector: Collector, label: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line and fields of every record; what does not parse is reported, and ends the file."""
    problem = "label file does not parse"
    text = collector.read_text(label) or ""
    if label.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines())
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            collector.report_broken(problem, label, reader.line_num, f"expected csv: {error}")
        return
    try:
        for line, record in read_items(text):
            if isinstance(record, dict):
                yield line, record
            else:
                what = f"expected an object, got {str(record)[:80]!r}"
                collector.report_broken("malformed item of a label file ignored", label, line, what)
    except json.JSONDecodeError as error:
        collector.report_broken(problem, label, error.lineno, f"expected json: {error.msg}")


def _read_box(record: Mapping[str, Any], fields: str | Sequence[str], box_form: str) -> Box | None:
    """xyxy of a record's box; None if it has none that is usable."""
    stated = record.get(fields) if isinstance(fields, str) else [record.get(key) for key in fields]
    if isinstance(stated, str):
        stated = stated.strip("[]() ").replace(",", " ").split()
    try:
        x, y, third, fourth = map(float, stated or ())
    except (TypeError, ValueError, OverflowError):
        return None
    box = (x, y, third, fourth) if box_form == "xyxy" else (x, y, x + third, y + fourth)
    return box if all(map(math.isfinite, box)) else None
