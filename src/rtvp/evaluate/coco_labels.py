"""Labels of COCO and LVIS files, and COCO results, as outcomes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, field_validator, model_validator

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.evaluate.evaluation import Frequency
from rtvp.evaluate.outcome import BoxXyxy, Outcome, Prediction
from rtvp.files import find_below, read_utf8, stays_below
from rtvp.mmio.converters.json_text import read_items
from rtvp.mmio.json_entries import Entry, read_json_entries

_LISTS = ("categories", "images", "annotations")


@dataclass(frozen=True, slots=True)
class Labels:
    """What a COCO or LVIS file says.

    Attributes:
        outcomes: one an image, without predictions; ``image`` is its path, or its file name where the folder
            of the images was not given.
        index_of: id of an image -> its place in ``outcomes``.
        name_of: id of a category -> its name, with blanks for underscores; several ids may have one name.
        frequencies: of the names; empty unless it is an LVIS file.
    """

    outcomes: tuple[Outcome, ...]
    index_of: Mapping[int, int]
    name_of: Mapping[int, str]
    frequencies: Mapping[str, Frequency]

    @property
    def names(self) -> tuple[str, ...]:
        """The category names in alphabetic order."""
        return tuple(sorted(set(self.name_of.values())))


class _Entry(StrictModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


_Bbox = Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]  # x, y, width, height in px


class _Category(_Entry):
    id: int
    name: str = Field(pattern=r"\w")
    frequency: Frequency | None = None


class _Image(_Entry):
    id: int
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    file_name: str = ""
    coco_url: str = ""
    source: str = ""
    group: str | None = None
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: tuple[int, ...] = Field(default=(), strict=False)

    @property
    def name(self) -> str:
        """The file, below the folder of the images; LVIS has it in the address: ".../val2017/1.jpg"."""
        return self.file_name or "/".join(self.coco_url.split("/")[-2:])

    @model_validator(mode="after")
    def _has_a_file(self) -> _Image:
        if not stays_below(self.name):
            raise ValueError("expected file_name, or coco_url, to name a file below the folder of the images")
        return self


class _Annotation(_Entry):
    image_id: int
    category_id: int
    bbox: _Bbox
    area: FiniteFloat | None = None
    iscrowd: int = 0

    @field_validator("iscrowd", mode="before")
    @classmethod
    def _as_number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, bool) else value


class _Result(_Entry):
    image_id: int
    category_id: int
    bbox: _Bbox
    score: FiniteFloat


def read_labels(path: Path, images: Path | None = None, *, lvis: bool = False) -> Labels:
    """Read a COCO file, or an LVIS one.

    In a COCO file all categories are annotated in all images. In an LVIS file those are that an image shows
    or lists in ``neg_category_ids``; those of its ``not_exhaustive_category_ids`` are only partly labelled.

    Args:
        path: the file.
        images: folder of the images; None where they need not be there.
        lvis: whether it is an LVIS file.

    Raises:
        RtvpError: not such a file, a line of it is wrong, or an image is not in the folder.
    """
    reader = _Reader(path, lvis)
    for entry in read_json_entries(path, _LISTS):
        reader.take(entry)
    return reader.result(images)


def with_results(labels: Labels, path: Path) -> tuple[Outcome, ...]:
    """The outcomes of a file of COCO results: a list of ``image_id``, ``category_id``, ``bbox``, ``score``.

    Raises:
        RtvpError: not such a file, or an image or category that the labels do not have.
    """
    found: dict[int, list[Prediction]] = defaultdict(list)
    try:
        for line, value in read_items(read_utf8(path)):
            result = parse_config(value, _Result, f"{path}:{line}")
            index, name = labels.index_of.get(result.image_id), labels.name_of.get(result.category_id)
            if index is None or name is None:
                known = f"image_id {result.image_id}, category_id {result.category_id}"
                raise RtvpError(f"{path}:{line}: expected an image and a category of the labels, got {known}")
            found[index].append((name, result.score, _corners(result.bbox)))
    except json.JSONDecodeError as error:
        raise RtvpError(f"{path}:{error.lineno}: expected a whole JSON list: {error.msg}") from error
    return tuple(
        replace(outcome, predictions=tuple(found.pop(index, ())))
        for index, outcome in enumerate(labels.outcomes)
    )


class _Reader:
    """Gathers the entries of a document, whatever their order."""

    def __init__(self, path: Path, lvis: bool) -> None:
        self._path, self._lvis = path, lvis
        self._categories: dict[int, _Category] = {}
        self._images: dict[int, _Image] = {}
        self._annotations: dict[int, list[tuple[int, _Annotation]]] = defaultdict(list)  # with their lines

    def take(self, entry: Entry) -> None:
        where = f"{self._path}:{entry.line}: {entry.key}[{entry.place}]"
        if entry.key == "annotations":
            annotation = parse_config(entry.value, _Annotation, where)
            self._annotations[annotation.image_id].append((entry.line, annotation))
        elif entry.key == "images":
            image = parse_config(entry.value, _Image, where)
            if self._lvis and image.neg_category_ids is None:
                raise RtvpError(f"{where}: expected neg_category_ids, which images of an LVIS file have")
            self._put(self._images, image.id, image, where)
        elif entry.key == "categories":
            category = parse_config(entry.value, _Category, where)
            if self._lvis and category.frequency is None:
                raise RtvpError(f"{where}: expected frequency, which categories of an LVIS file have")
            self._put(self._categories, category.id, category, where)

    def _put(self, known: dict[int, Any], number: int, value: object, where: str) -> None:
        if number in known:
            raise RtvpError(f"{where}: expected each id once, got {number} again")
        known[number] = value

    def result(self, folder: Path | None) -> Labels:
        names = {n: " ".join(c.name.replace("_", " ").split()) for n, c in self._categories.items()}
        everything = frozenset(names.values())
        # In the order of the ids, as pycocotools has them: among equal scores the first image comes first.
        images = [self._images[number] for number in sorted(self._images)]
        outcomes = tuple(self._outcome(image, names, everything, folder) for image in images)
        for left in self._annotations.values():  # what is left belongs to no image
            raise RtvpError(f"{self._path}:{left[0][0]}: expected an annotation of an image of the file")
        frequencies = {names[n]: c.frequency for n, c in self._categories.items() if c.frequency}
        index_of = {image.id: index for index, image in enumerate(images)}
        return Labels(outcomes, index_of, names, frequencies if self._lvis else {})

    def _outcome(
        self, image: _Image, names: Mapping[int, str], everything: frozenset[str], folder: Path | None
    ) -> Outcome:
        own = self._annotations.pop(image.id, [])
        for line, annotation in own:
            if annotation.category_id not in names:
                wrong = annotation.category_id
                raise RtvpError(f"{self._path}:{line}: expected the id of a category, got {wrong}")
        labelled = [annotation for _, annotation in own if not annotation.iscrowd]
        crowds = [annotation for _, annotation in own if annotation.iscrowd]
        known = [*(each.category_id for each in labelled), *(image.neg_category_ids or ())]
        partly = image.not_exhaustive_category_ids if self._lvis else ()
        source = image.source or self._path.stem
        return Outcome(
            image=image.name if folder is None else str(self._find(image.name, folder)),
            source=source,
            scene=source,
            super_category="",
            width=image.width,
            height=image.height,
            truth=tuple((names[each.category_id], _corners(each.bbox)) for each in labelled),
            predictions=(),
            annotated=frozenset(names[n] for n in known if n in names) if self._lvis else everything,
            group="" if image.group is None else f"{source}/{image.group}",
            areas=tuple(each.bbox[2] * each.bbox[3] if each.area is None else each.area for each in labelled),
            crowds=tuple((names[each.category_id], _corners(each.bbox)) for each in crowds),
            not_exhaustive=frozenset(names[n] for n in partly if n in names),
        )

    def _find(self, name: str, folder: Path) -> Path:
        path = find_below(folder, [name, name.rsplit("/", maxsplit=1)[-1]])
        if path is None:
            raise RtvpError(f"{self._path}: expected its image {name} in {folder}, found no such file")
        return path


def _corners(bbox: list[float]) -> BoxXyxy:
    x, y, width, height = bbox
    return (x, y, x + width, y + height)
