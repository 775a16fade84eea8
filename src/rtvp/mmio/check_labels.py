"""Checks what one COCO document says, without its images; reads on where the strict reader would stop."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.mmio.coco_file import COCO_LISTS, CocoAnnotation, CocoCategory, CocoImage
from rtvp.mmio.findings import Findings
from rtvp.mmio.json_entries import Entry, read_json_entries

_TOLERANCE = 0.5  # px; labels are rounded
_THIN = 1.0  # px; boxes with a shorter side show nothing
_ROUNDING = 0.01  # px; a side of 1 px may lose as much when its edges are written
_SAME_DECIMALS = 2  # boxes that agree to 0.01 px are one

Schema = TypeVar("Schema", bound=StrictModel)


class _Box(NamedTuple):
    """An annotation, as short as can be: there may be millions."""

    line: int
    category_id: int
    xywh: tuple[float, ...]


@dataclass(slots=True)
class LabelFile:
    """What could be read of a document.

    Attributes:
        path: of the file.
        images: by id.
        categories: name by id.
        boxes: how many annotations are listed, faulty ones too.
    """

    path: Path
    images: dict[int, CocoImage] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    boxes: int = 0


def check_labels(path: Path, findings: Findings, few_boxes: int) -> LabelFile:
    """Note all that is wrong in the document at ``path``, and hand back what could be read of it.

    Args:
        path: the file.
        findings: where faults are noted.
        few_boxes: classes with fewer boxes are noted.
    """
    checker = _LabelChecker(path, findings)
    try:
        for entry in read_json_entries(path, COCO_LISTS):
            checker.take(entry)
    except RtvpError as error:
        findings.add("file does not parse", str(path), str(error).removeprefix(f"{path}:"))
    checker.check_boxes()
    checker.check_classes(few_boxes)
    return checker.file


class _LabelChecker:
    def __init__(self, path: Path, findings: Findings) -> None:
        self.file = LabelFile(path)
        self._findings = findings
        self._boxes: dict[int, list[_Box]] = defaultdict(list)  # by image id
        self._annotation_ids: set[int] = set()
        self._names: dict[str, int] = {}  # of categories: line
        self._per_class: Counter[int] = Counter()

    def take(self, entry: Entry) -> None:
        where = f"{self.file.path}:{entry.line}: {entry.key}[{entry.place}]"
        if entry.key == "images":
            self._take_image(entry, where)
        elif entry.key == "categories":
            self._take_category(entry, where)
        elif entry.key == "annotations":
            self.file.boxes += 1
            self._take_annotation(entry, where)

    def _take_image(self, entry: Entry, where: str) -> None:
        image = self._parse(entry, CocoImage, where)
        if image is not None and self._is_new_id(image.id, self.file.images, where):
            if image.id == 0:
                self._findings.add("ids from 0", where, "expected image ids from 1 on, got 0")
            self.file.images[image.id] = image

    def _take_category(self, entry: Entry, where: str) -> None:
        category = self._parse(entry, CocoCategory, where)
        if category is None or not self._is_new_id(category.id, self.file.categories, where):
            return
        if category.id == 0:
            self._findings.add("ids from 0", where, "expected category ids from 1 on, got 0")
        if category.name in self._names:
            first = self._names[category.name]
            detail = f"expected each name once, got {category.name!r} as on line {first}"
            self._findings.add("class listed twice", where, detail)
        self._names.setdefault(category.name, entry.line)
        self.file.categories[category.id] = category.name

    def _take_annotation(self, entry: Entry, where: str) -> None:
        if _has_infinite_number(entry.value):
            detail = f"expected finite numbers, got {entry.value['bbox']}"
            self._findings.add("number is not finite", where, detail)
            return
        annotation = self._parse(entry, CocoAnnotation, where)
        if annotation is None:
            return
        self._check_fields(entry.value, where)
        box = _Box(entry.line, annotation.category_id, tuple(annotation.bbox))
        self._boxes[annotation.image_id].append(box)

    def _check_fields(self, value: Mapping[str, Any], where: str) -> None:
        """The fields that evaluations need, and reading does not."""
        if missing := [key for key in ("id", "area", "iscrowd") if key not in value]:
            self._findings.add("field missing", where, f"evaluations need {', '.join(missing)}")
        if "area" in value and not _is_positive(value["area"]):
            self._findings.add("wrong area", where, f"expected an area above 0, got {value['area']!r:.40}")
        number = value.get("id")
        if isinstance(number, int) and self._is_new_id(number, self._annotation_ids, where):
            self._annotation_ids.add(number)
            if number == 0:
                detail = "expected ids from 1 on, got 0: evaluations take this box for one that was missed"
                self._findings.add("annotation id 0", where, detail)

    def check_boxes(self) -> None:
        """What can be told when images and categories are known."""
        for image_id, boxes in self._boxes.items():
            image = self.file.images.get(image_id)
            seen: dict[tuple[float, ...], set[int]] = defaultdict(set)  # box -> its categories
            for box in boxes:
                where = f"{self.file.path}:{box.line}"
                self._per_class[box.category_id] += 1
                if box.category_id not in self.file.categories:
                    detail = f"expected the id of a category, got {box.category_id}"
                    self._findings.add("unknown class", where, detail)
                if image is None:
                    self._findings.add("unknown image", where, f"expected the id of an image, got {image_id}")
                    continue
                for kind, detail in _faults_of_box(box.xywh, image):
                    self._findings.add(kind, f"{where}: {image.file_name}", detail)
                same = seen[tuple(round(edge, _SAME_DECIMALS) for edge in box.xywh)]
                if same:
                    kind = "duplicate box" if box.category_id in same else "box of two classes"
                    detail = f"the same box stands there before: {list(box.xywh)}"
                    self._findings.add(kind, f"{where}: {image.file_name}", detail)
                same.add(box.category_id)
        self._boxes.clear()

    def check_classes(self, few_boxes: int) -> None:
        """Whether there is enough of each class to learn or to measure."""
        for number, name in self.file.categories.items():
            count = self._per_class[number]
            if count == 0:
                self._findings.add("class without boxes", str(self.file.path), repr(name))
            elif count < few_boxes:
                detail = f"{name!r} has {count}, fewer than {few_boxes}"
                self._findings.add("class with few boxes", str(self.file.path), detail)

    def _parse(self, entry: Entry, schema: type[Schema], where: str) -> Schema | None:
        try:
            return parse_config(entry.value, schema, where)
        except RtvpError as error:
            self._findings.add("malformed entry", where, str(error).removeprefix(f"{where}: "))
            return None

    def _is_new_id(self, number: int, taken: Mapping[int, object] | set[int], where: str) -> bool:
        if number in taken:
            self._findings.add("id given twice", where, f"expected each id once, got {number} again")
        return number not in taken


def _has_infinite_number(value: Any) -> bool:
    box = value.get("bbox") if isinstance(value, dict) else None
    return isinstance(box, list) and any(isinstance(x, float) and not math.isfinite(x) for x in box)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _faults_of_box(xywh: tuple[float, ...], image: CocoImage) -> Iterator[tuple[str, str]]:
    """Kind and detail of all that is wrong with a box in ``image``."""
    x, y, width, height = xywh
    if width <= 0 or height <= 0:
        yield "box without area", f"expected a width and height above 0, got {list(xywh)}"
    elif min(width, height) < _THIN - _ROUNDING:
        yield "thin box", f"expected sides of at least {_THIN:g} px, got {list(xywh)}"
    over = max(-x, -y, x + width - image.width, y + height - image.height)
    if over > _TOLERANCE:
        size = f"{image.width} x {image.height}"
        yield "box out of the image", f"{list(xywh)} reaches {over:.1f} px out of {size}"
