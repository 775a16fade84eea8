"""YOLO txt: one line per defect, coordinates as shares of the image's width and height."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rtvp.errors import RtvpError
from rtvp.mmio.collector import IMAGE_SUFFIXES, Collector
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.rle import encode_polygons
from rtvp.mmio.schema import Annotation, Box, Conversion

_CORNERS = 4  # of a turned box, which is no outline of the defect


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a label file; shares of the image's width and height.

    Attributes:
        number: of the line, from 1.
        class_id: as stated.
        box: left, top, right, bottom.
        polygon: x, y, x, y, ... of an outline; None for boxes, turned ones too.
    """

    number: int
    class_id: int
    box: Box
    polygon: tuple[float, ...] | None


class _MalformedLineError(Exception):
    def __init__(self, number: int, line: str) -> None:
        super().__init__(f"expected a class id and 4 values or pairs of x and y, got {line.strip()[:80]!r}")
        self.number = number


def convert_yolo(
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    first_id: int = 0,
    masks: bool = False,
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
        masks: keep polygons as masks; four points are taken for a turned box.
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
        label = next((path for path in (*_in_labels_folders(root, beside), beside) if path in unused), None)
        if label is None:
            collector.count("image without label file")
            continue
        unused.remove(label)
        _add(collector, image, label, class_names, masks)
    for label in sorted(unused):
        # Other texts (a readme, a list of names) lie about too; only labels parse as such.
        if _is_label(label):
            collector.count("label names a missing image")
    return collector.conversion()


def _in_labels_folders(root: Path, path: Path) -> Iterator[Path]:
    """``path`` with one folder called images (below ``root``) replaced by labels: the last one first."""
    parts = path.relative_to(root).parts
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            yield root.joinpath(*parts[:index], "labels", *parts[index + 1 :])


def _add(collector: Collector, image: Path, label: Path, class_names: Mapping[int, str], masks: bool) -> None:
    size = collector.image_size(image)
    text = collector.read_text(label)
    if size is None or text is None:
        return
    try:
        lines = _parse(text)
    except _MalformedLineError as error:
        collector.report_broken("image skipped: malformed label line", label, error.number, str(error))
        return
    for line in lines:
        if line.class_id not in class_names:
            what = f"expected a class id of {_ids_in_words(class_names)}, got {line.class_id}"
            collector.report_broken("image skipped: undefined class id", label, line.number, what)
            return
    collector.add(image, size, [_annotation(line, class_names, size, masks) for line in lines])


def _annotation(
    line: _Line, class_names: Mapping[int, str], size: tuple[int, int], masks: bool
) -> Annotation:
    width, height = size
    x1, y1, x2, y2 = line.box
    mask = None
    if masks and line.polygon is not None:
        xs, ys = line.polygon[0::2], line.polygon[1::2]
        points = zip(xs, ys, strict=True)
        mask = encode_polygons([[value for x, y in points for value in (x * width, y * height)]], size)
    box = (x1 * width, y1 * height, x2 * width, y2 * height)
    return Annotation(class_names[line.class_id], box, mask)


def _ids_in_words(class_names: Mapping[int, str]) -> str:
    return ", ".join(str(class_id) for class_id in sorted(class_names)[:20]) or "no class at all"


def _is_label(path: Path) -> bool:
    try:
        _parse(path.read_text(encoding="utf-8-sig", errors="replace"))
    except (_MalformedLineError, OSError):
        return False
    return True


def _parse(text: str) -> list[_Line]:
    """All lines of a label file that are not empty.

    Raises:
        _MalformedLineError: one of them is not a label.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            class_id, *values = (float(value) for value in line.split())
        except ValueError:
            raise _MalformedLineError(number, line) from None
        if not class_id.is_integer() or not all(map(math.isfinite, values)):
            raise _MalformedLineError(number, line)
        if len(values) == 4:
            x, y, width, height = values
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            lines.append(_Line(number, int(class_id), box, None))
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[0::2], values[1::2]
            outline = None if len(xs) == _CORNERS else tuple(values)
            lines.append(_Line(number, int(class_id), (min(xs), min(ys), max(xs), max(ys)), outline))
        else:
            raise _MalformedLineError(number, line)
    return lines


def _find_classes(collector: Collector) -> dict[int, str]:
    """Names by id from the files that came with the set; those nearest to its root first."""
    files = collector.files({".yaml", ".yml"})
    for path in sorted(files, key=lambda path: (path.name != "data.yaml", len(path.parts), path)):
        if names := _names_in(_read_yaml(collector, path)):
            return names
    for path in sorted(collector.files({".txt"}, "**/classes.txt"), key=lambda path: (len(path.parts), path)):
        lines = (collector.read_text(path) or "").splitlines()
        if names := {index: line.strip() for index, line in enumerate(lines) if line.strip()}:
            return names
    raise RtvpError(
        f"expected the class names of {collector.root} in a data.yaml (`names`) or classes.txt, found none: "
        "add one, or give the names as the option `classes`"
    )


def _read_yaml(collector: Collector, path: Path) -> Any:
    """What a yaml file holds; None, reported, if it does not parse."""
    if (text := collector.read_text(path)) is None:
        return None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        what = getattr(error, "problem", None) or "values that can be read"
        collector.report_broken("yaml file does not parse", path, line, f"expected yaml: {what}")
        return None


def _names_in(content: Any) -> dict[int, str]:
    """Class names by id; names that are no plain values (a bomb of references) are not unfolded."""
    names = content.get("names") if isinstance(content, dict) else None
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    return {
        int(key): str(name)
        for key, name in pairs
        if isinstance(name, str | int | float) and (isinstance(key, int) or str(key).isdecimal())
    }
