"""YOLO txt: one line per defect, coordinates as shares of the image's width and height."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rtvp.errors import RtvpError
from rtvp.mmio.collector import IMAGE_SUFFIXES, Collector
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Box, Conversion


def convert_yolo(
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    first_id: int = 0,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
) -> Conversion:
    """Read every image under ``root`` with its label file, in ``labels`` for ``images`` or beside the image.

    A line is a class id and a box (centre x, centre y, width, height) or a polygon or the four corners of a
    turned box, of which the bounds are taken; one file may mix them. An empty file is a good image; an image
    without one is left out, as nothing is known of it. The paths inside yaml files are not used: they are
    where the author had the data.

    Args:
        root: folder of the set.
        classes: names in the order of their ids; if None, those of data.yaml, another yaml file with
            ``names``, or classes.txt.
        first_id: the id of the first name.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder, or no names are given or found.
    """
    collector = Collector(root, names, group_rule)
    by_index = dict(enumerate(classes)) if classes is not None else _find_classes(collector)
    class_names = {first_id + index: name for index, name in by_index.items()}
    unused = set(collector.files({".txt"}))
    for image in collector.files(IMAGE_SUFFIXES):
        beside = image.with_suffix(".txt")
        label = next((path for path in (_in_labels_folder(root, beside), beside) if path in unused), None)
        if label is None:
            collector.count("image without label file")
            continue
        unused.remove(label)
        _add(collector, image, _read_label(label), class_names)
    for label in sorted(unused):
        # Other texts (a readme, a list of names) lie about too; only labels parse as such.
        if _read_label(label) is not None:
            collector.count("label names a missing image")
    return collector.conversion()


def _in_labels_folder(root: Path, path: Path) -> Path:
    """``path`` with its last folder called images (below ``root``) replaced by labels."""
    parts = list(path.relative_to(root).parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            parts[index] = "labels"
            break
    return root.joinpath(*parts)


def _add(
    collector: Collector, image: Path, lines: list[tuple[int, Box]] | None, class_names: Mapping[int, str]
) -> None:
    size = collector.image_size(image)
    if size is None:
        return
    if lines is None:
        collector.count("image skipped: malformed label line")
    elif any(class_id not in class_names for class_id, _ in lines):
        collector.count("image skipped: undefined class id")
    else:
        collector.add(
            image, size, [(class_names[class_id], _to_pixels(box, size)) for class_id, box in lines]
        )


def _read_label(path: Path) -> list[tuple[int, Box]] | None:
    """Class ids and boxes (xyxy, shares of the image) of a label file; None if one line is not a label."""
    lines = []
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if not line.strip():
            continue
        parsed = _parse_line(line)
        if parsed is None:
            return None
        lines.append(parsed)
    return lines


def _parse_line(line: str) -> tuple[int, Box] | None:
    try:
        class_id, *values = (float(value) for value in line.split())
    except ValueError:
        return None
    if not class_id.is_integer() or not all(map(math.isfinite, values)):
        return None
    if len(values) == 4:
        x, y, width, height = values
        return int(class_id), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[0::2], values[1::2]
        return int(class_id), (min(xs), min(ys), max(xs), max(ys))
    return None


def _to_pixels(box: Box, size: tuple[int, int]) -> Box:
    width, height = size
    x1, y1, x2, y2 = box
    return (x1 * width, y1 * height, x2 * width, y2 * height)


def _find_classes(collector: Collector) -> dict[int, str]:
    """Names by id from the files that came with the set; those nearest to its root first."""
    files = collector.files({".yaml", ".yml"})
    for path in sorted(files, key=lambda path: (path.name != "data.yaml", len(path.parts), path)):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            collector.count("yaml file does not parse")
            continue
        if names := _names_in(content):
            return names
    for path in sorted(collector.files({".txt"}, "**/classes.txt"), key=lambda path: (len(path.parts), path)):
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if names := {index: line.strip() for index, line in enumerate(lines) if line.strip()}:
            return names
    raise RtvpError(
        f"expected the class names of {collector.root} in a data.yaml (`names`) or classes.txt, found none: "
        "add one, or give the names as the option `classes`"
    )


def _names_in(content: Any) -> dict[int, str]:
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return {index: str(name) for index, name in enumerate(names)}
    if isinstance(names, dict):
        return {key: str(name) for key, name in names.items() if isinstance(key, int)}
    return {}
