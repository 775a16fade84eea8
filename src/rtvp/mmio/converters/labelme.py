"""LabelMe: one json file per image, with shapes drawn by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvp.mmio.collector import Collector
from rtvp.mmio.converters.json_text import JsonMembers
from rtvp.mmio.converters.lookup import ImageLookup
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.rle import encode_polygons
from rtvp.mmio.schema import Annotation, Box, Conversion

_CIRCLE_POINTS = 72  # of the polygon that stands for a circle's pixels

# Fewest and most points of each type of shape.
_POINTS = {
    "polygon": (1, math.inf),
    "linestrip": (1, math.inf),
    "line": (2, 2),
    "rectangle": (2, 4),
    "circle": (2, 2),
    "point": (1, 1),
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """A shape as an area: its bounds and, where its pixels are known, its polygon (x, y, x, y, ...)."""

    name: str
    box: Box
    polygon: Sequence[float] | None


@dataclass(slots=True)
class _Document:
    """What one json file says; every list of shapes is one defect."""

    image: str = ""
    width: Any = None
    height: Any = None
    defects: dict[Any, list[_Shape]] = field(default_factory=dict)
    points: int = 0  # dropped, as they have no area


def convert_labelme(
    root: Path,
    *,
    annotations: str | Sequence[str] = "**/*.json",
    encoding: str = "utf-8",
    good_folders: Sequence[str] = (),
    line_width: float = 1.0,
    point_size: float = 0.0,
    masks: bool = False,
    names: Mapping[str, str | None] | None = None,
    group_rule: GroupRule = "stem",
) -> Conversion:
    """Read every LabelMe file under ``root``: polygons, linestrips, lines, rectangles, circles and points.

    The image is looked up by ``imagePath`` from the json file, then beside it by the json's own name. Shapes
    of one label that share a ``group_id`` are one defect. A file without shapes is a good image.

    Args:
        root: folder of the set.
        annotations: glob, or several, of the json files below ``root``.
        encoding: of the json files.
        good_folders: images below a folder of this name are good and need no json file.
        line_width: px that a line or linestrip is taken to be wide.
        point_size: px; side of the box around a point; 0 drops points, as they have no area.
        masks: keep polygons, rectangles and circles as masks.
        names: raw category name -> canonical name, None to drop it.
        group_rule: which images belong together.

    Raises:
        RtvpError: ``root`` is no folder.
    """
    collector = Collector(root, names, group_rule)
    lookup = ImageLookup(collector)
    beside = {path.with_suffix(""): path for path in reversed(lookup.files)}
    labelled: set[Path] = set()
    for label in collector.files({".json"}, annotations):
        text = collector.read_text(label, "utf-8-sig" if encoding == "utf-8" else encoding)
        document = None if text is None else _read_document(collector, label, text, line_width, point_size)
        if document is None:
            continue
        named = collector.locate(label.parent, document.image or label.stem, label, 1)
        if named is None:
            continue
        image = lookup.at(named) or beside.get(label.with_suffix(""))
        if image is None:
            collector.count("label names a missing image")
            continue
        labelled.add(image)
        _add(collector, image, label, document, masks)
    for image in lookup.files:
        if image in labelled:
            continue
        if set(good_folders).isdisjoint(image.relative_to(root).parts[:-1]):
            collector.count("image without label file")
        elif (size := collector.image_size(image)) is not None:
            collector.add(image, size, [])
    return collector.conversion()


def _add(collector: Collector, image: Path, label: Path, document: _Document, masks: bool) -> None:
    size = collector.image_size(image)
    declared = (document.width, document.height)
    if size is None or not collector.accepts_declared_size(label, 1, declared, size):
        return
    if document.points and not document.defects:
        collector.count("image skipped: only points")
        return
    collector.add(image, size, [_join(parts, size, masks) for parts in document.defects.values()])


def _read_document(
    collector: Collector, label: Path, text: str, line_width: float, point_size: float
) -> _Document | None:
    """What ``label`` holds; None, counted or reported, if it is not LabelMe or is malformed."""
    document = _Document()
    members = JsonMembers(text, {"shapes"})
    try:
        for key, line, value in members:
            if key == "shapes":
                _add_shape(collector, document, line, value, line_width, point_size)
            elif key == "imagePath":
                document.image = str(value or "")
            elif key == "imageWidth":
                document.width = value
            elif key == "imageHeight":
                document.height = value
    except json.JSONDecodeError as error:
        what = f"expected json: {error.msg}"
        collector.report_broken("label file does not parse", label, error.lineno, what)
        return None
    except _MalformedShapeError as error:
        collector.report_broken("image skipped: malformed shape", label, error.line, str(error))
        return None
    if "shapes" not in members.keys:
        collector.count("json file is not LabelMe")
        return None
    return document


class _MalformedShapeError(Exception):
    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def _add_shape(
    collector: Collector, document: _Document, line: int, item: Any, line_width: float, point_size: float
) -> None:
    try:
        name, kind = str(item["label"]).strip(), item.get("shape_type") or "polygon"
        points = [(float(x), float(y)) for x, y in item["points"]]
        group = item.get("group_id")
        key = len(document.defects) if group is None else (name, str(group))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise _MalformedShapeError(
            line, f"expected a shape with label and points, got {str(item)[:80]!r}"
        ) from None
    fewest, most = _POINTS.get(kind, (1, 0)) if isinstance(kind, str) else (1, 0)
    if not fewest <= len(points) <= most:
        known = ", ".join(_POINTS)
        raise _MalformedShapeError(
            line, f"expected one of {known}, got {str(kind)[:40]!r} of {len(points)} points"
        )
    if not all(map(math.isfinite, (value for point in points for value in point))):
        raise _MalformedShapeError(line, "expected finite coordinates")
    if kind == "point" and not point_size > 0:
        collector.count("point without area dropped")
        document.points += 1
        return
    growth = {"line": line_width / 2, "linestrip": line_width / 2, "point": point_size / 2}.get(kind, 0.0)
    shape = _Shape(name, *_outline(kind, points, growth))
    document.defects.setdefault(key, []).append(shape)


def _outline(kind: str, points: list[tuple[float, float]], growth: float) -> tuple[Box, list[float] | None]:
    """Bounds of a shape, ``growth`` px wider on each side, and its polygon where it has an area."""
    if kind == "circle":
        (x, y), rim = points
        radius = math.dist((x, y), rim)
        angles = [2 * math.pi * step / _CIRCLE_POINTS for step in range(_CIRCLE_POINTS)]
        polygon = [v for a in angles for v in (x + radius * math.cos(a), y + radius * math.sin(a))]
        return (x - radius, y - radius, x + radius, y + radius), polygon
    xs, ys = zip(*points, strict=True)
    x1, y1, x2, y2 = min(xs) - growth, min(ys) - growth, max(xs) + growth, max(ys) + growth
    if kind == "rectangle":
        return (x1, y1, x2, y2), [x1, y1, x2, y1, x2, y2, x1, y2]
    polygon = [value for point in points for value in point]
    return (x1, y1, x2, y2), polygon if kind == "polygon" else None


def _join(parts: Sequence[_Shape], size: tuple[int, int], masks: bool) -> Annotation:
    """One defect of all its shapes."""
    lefts, tops, rights, bottoms = zip(*(part.box for part in parts), strict=True)
    polygons = [part.polygon for part in parts if part.polygon is not None]
    mask = encode_polygons(polygons, size) if masks and len(polygons) == len(parts) else None
    return Annotation(parts[0].name, (min(lefts), min(tops), max(rights), max(bottoms)), mask)
