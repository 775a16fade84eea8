"""The COCO json document that the benchmark is kept in: the one place that knows its layout."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, field_validator, model_validator

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.files import replacing, sha256_of, stays_below
from rtvp.mmio.collector import MAX_PIXELS
from rtvp.mmio.json_entries import Entry, read_json_entries
from rtvp.mmio.rle import parse_counts
from rtvp.mmio.schema import Annotation, Box, ImageRecord, Item

COCO_LISTS = ("categories", "images", "annotations")
_DECIMALS = 2  # of written coordinates, px
_NOISE_DECIMALS = 6  # x + width is not exactly x2 in floating point
_encode = json.JSONEncoder(allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class CocoFile:
    """Labelled images, as they stand in one COCO json document.

    Attributes:
        items: the images with their defects.
        categories: names in the order of their ids; every name of an annotation is among them.
        supercategories: category -> super-category, where one is known.
        crowded: file names of the images with crowds (``iscrowd``): boxes that hold no single object.
    """

    items: tuple[Item, ...]
    categories: tuple[str, ...]
    supercategories: Mapping[str, str] = field(default_factory=dict)
    crowded: frozenset[str] = frozenset()


def to_items(
    records: Iterable[ImageRecord], source: str, root: Path, hash: Callable[[Path], str] = sha256_of
) -> tuple[Item, ...]:
    """The images of one set, told by their content and their path below the set's folder.

    Args:
        records: what a converter made of the set.
        source: name of the set.
        root: folder of the set; every image lies below it.
        hash: SHA-256 of a file.
    """
    return tuple(
        Item(
            source=source,
            file_name=record.path.relative_to(root).as_posix(),
            width=record.width,
            height=record.height,
            sha256=hash(record.path),
            group=f"{source}/{record.group}",
            annotations=record.annotations,
        )
        for record in records
    )


def write_coco_file(
    path: Path,
    items: Iterable[Item],
    categories: Sequence[str],
    *,
    supercategories: Mapping[str, str] | None = None,
    info: Mapping[str, Any] | None = None,
    prefix_source: bool = False,
) -> None:
    """Write a COCO document: one entry a line, ids from 1, images sorted by key; equal input, equal bytes.

    Boxes are x, y, width, height, rounded to 0.01 px. Images bear ``source``, ``sha256`` and ``group``
    beside COCO's own fields. The text is not held in memory.

    Args:
        path: replaced when all is written.
        items: the images.
        categories: names in the order of their ids.
        supercategories: category -> super-category.
        info: goes into the document as it is.
        prefix_source: write "source/file_name" as the file name, for files of several sets.

    Raises:
        RtvpError: two images of one key, a category given twice, an annotation whose name is no category, or
            a path that cannot be written.
    """
    ordered = sorted(items, key=lambda item: item.key)
    _check_unique("images", (item.key for item in ordered), path)
    _check_unique("categories", categories, path)
    ids = {name: number for number, name in enumerate(categories, start=1)}
    above = supercategories or {}
    header = dict(info or {}) | ({"file_names_start_with_source": True} if prefix_source else {})
    lists: dict[str, Iterator[dict[str, Any]]] = {
        "categories": (
            {"id": number, "name": name} | ({"supercategory": above[name]} if name in above else {})
            for name, number in ids.items()
        ),
        "images": (_image_entry(number, item, prefix_source) for number, item in enumerate(ordered, start=1)),
        "annotations": _annotation_entries(ordered, ids, path),
    }
    with (
        replacing(path) as temporary,
        # ASCII: any reader takes it, and it needs one byte a character in memory.
        temporary.open("w", encoding="ascii", newline="\n") as file,
    ):
        file.write('{\n"info": ' + _encode(header))
        for key, entries in lists.items():
            before = f',\n"{key}": [\n'
            for entry in entries:
                file.write(before + _encode(entry))
                before = ",\n"
            file.write("\n]" if before == ",\n" else f"{before}]")
        file.write("\n}\n")


def _check_unique(kind: str, names: Iterable[str], path: Path) -> None:
    name, count = max(Counter(names).items(), key=lambda entry: entry[1], default=("", 1))
    if count > 1:
        raise RtvpError(f"{path}: {kind}: expected each once, got {name!r} {count} times")


def _image_entry(number: int, item: Item, prefix_source: bool) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": item.key if prefix_source else item.file_name,
        "width": item.width,
        "height": item.height,
        "source": item.source,
        "sha256": item.sha256,
        "group": item.group,
    }


def _annotation_entries(
    items: Sequence[Item], ids: Mapping[str, int], path: Path
) -> Iterator[dict[str, Any]]:
    number = 0
    for image_id, item in enumerate(items, start=1):
        for annotation in item.annotations:
            number += 1
            if annotation.name not in ids:
                raise RtvpError(
                    f"{path}: {item.key}: expected a name out of the {len(ids)} categories, "
                    f"got {annotation.name!r}"
                )
            x1, y1, x2, y2 = (round(edge, _DECIMALS) for edge in annotation.box_xyxy)
            width, height = round(x2 - x1, _DECIMALS), round(y2 - y1, _DECIMALS)
            entry: dict[str, Any] = {
                "id": number,
                "image_id": image_id,
                "category_id": ids[annotation.name],
                "bbox": [x1, y1, width, height],
                "area": round(width * height, _DECIMALS),
                "iscrowd": 0,
            }
            if annotation.mask is not None:
                runs = parse_counts(annotation.mask, (item.width, item.height))
                entry["area"] = int(runs[1::2].sum())
                entry["segmentation"] = {"size": [item.height, item.width], "counts": annotation.mask}
            yield entry


class _Entry(StrictModel):
    model_config = ConfigDict(extra="ignore")


class CocoInfo(_Entry):
    """``info``, what the builder needs of it."""

    file_names_start_with_source: bool = False


class CocoCategory(_Entry):
    """An entry of ``categories``."""

    id: int
    name: str = Field(min_length=1)
    supercategory: str | None = None


class CocoImage(_Entry):
    """An entry of ``images``; the last three fields are the benchmark's own."""

    id: int
    file_name: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    source: str = ""
    sha256: str = ""
    group: str | None = None

    @field_validator("file_name")
    @classmethod
    def _is_below(cls, value: str) -> str:
        if not stays_below(value):
            raise ValueError("expected a name below the folder of the images")
        return value

    @model_validator(mode="after")
    def _can_be_opened(self) -> CocoImage:
        if self.width * self.height > MAX_PIXELS:
            raise ValueError(f"expected a width and height of at most {MAX_PIXELS} pixels")
        return self


class CocoAnnotation(_Entry):
    """An entry of ``annotations``; ``bbox`` is x, y, width, height in px."""

    image_id: int
    category_id: int
    bbox: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    segmentation: Any = None
    iscrowd: int = 0


def read_coco_file(path: Path) -> CocoFile:
    """Read a COCO document of the benchmark, or any other: fields it lacks become "", groups the file's stem.

    Boxes are taken as they stand, also those that reach out of their image and those of crowds. Only
    compressed run-length masks are kept, and two ids of one name are one category; ``rtvp mmio convert coco``
    cleans boxes and reads the other kinds of masks.

    Raises:
        RtvpError: not a complete COCO document; the message names the line, ``rtvp mmio check`` every fault.
    """
    reader = _Reader(path)
    for entry in read_json_entries(path, COCO_LISTS):
        reader.take(entry)
    return reader.result()


class _Reader:
    """Gathers the entries of a document, whatever their order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prefixed = False
        self._categories: dict[int, CocoCategory] = {}
        self._images: dict[int, CocoImage] = {}
        # image id -> line, category id, box, mask
        self._boxes: dict[int, list[tuple[int, int, Box, str | None]]] = defaultdict(list)
        self._with_crowds: set[int] = set()

    def take(self, entry: Entry) -> None:
        where = f"{self._path}:{entry.line}: {entry.key}"
        if entry.key == "info" and isinstance(entry.value, dict):
            self._prefixed = parse_config(entry.value, CocoInfo, where).file_names_start_with_source
        elif entry.key in COCO_LISTS:
            self._take_listed(entry, f"{where}[{entry.place}]")

    def _take_listed(self, entry: Entry, where: str) -> None:
        if entry.key == "annotations":
            annotation = parse_config(entry.value, CocoAnnotation, where)
            if annotation.iscrowd:
                self._with_crowds.add(annotation.image_id)
            x, y, width, height = annotation.bbox
            box = (x, y, round(x + width, _NOISE_DECIMALS), round(y + height, _NOISE_DECIMALS))
            self._boxes[annotation.image_id].append(
                (entry.line, annotation.category_id, box, _mask(annotation.segmentation))
            )
        elif entry.key == "images":
            image = parse_config(entry.value, CocoImage, where)
            self._refuse_second(image.id, self._images, where)
            self._images[image.id] = image
        else:
            category = parse_config(entry.value, CocoCategory, where)
            self._refuse_second(category.id, self._categories, where)
            self._categories[category.id] = category

    def _refuse_second(self, number: int, taken: Mapping[int, object], where: str) -> None:
        if number in taken:
            raise RtvpError(f"{where}: expected each id once, got {number} again")

    def result(self) -> CocoFile:
        ordered = [self._categories[number] for number in sorted(self._categories)]
        items = tuple(self._item(number, image) for number, image in self._images.items())
        for boxes in self._boxes.values():  # what is left belongs to no image
            raise RtvpError(f"{self._path}:{boxes[0][0]}: expected an annotation of an image of the file")
        return CocoFile(
            items,
            tuple(dict.fromkeys(category.name for category in ordered)),
            {category.name: category.supercategory for category in ordered if category.supercategory},
            frozenset(
                self._name(image) for number, image in self._images.items() if number in self._with_crowds
            ),
        )

    def _name(self, image: CocoImage) -> str:
        return image.file_name.removeprefix(f"{image.source}/") if self._prefixed else image.file_name

    def _item(self, number: int, image: CocoImage) -> Item:
        name = self._name(image)
        group = PurePosixPath(name).stem if image.group is None else image.group
        size = (image.width, image.height)
        annotations = tuple(self._annotation(*entry, size) for entry in self._boxes.pop(number, ()))
        return Item(image.source, name, image.width, image.height, image.sha256, group, annotations)

    def _annotation(
        self, line: int, category_id: int, box: Box, mask: str | None, size: tuple[int, int]
    ) -> Annotation:
        category = self._categories.get(category_id)
        if category is None:
            raise RtvpError(f"{self._path}:{line}: expected the id of a category, got {category_id}")
        if mask is not None:
            try:
                parse_counts(mask, size)
            except ValueError as error:
                raise RtvpError(f"{self._path}:{line}: segmentation: {error}") from error
        return Annotation(category.name, box, mask)


def _mask(segmentation: Any) -> str | None:
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    return counts if isinstance(counts, str) else None
