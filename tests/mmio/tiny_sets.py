"""Writes small sets in the layouts of the table of sources: one image per raw category, and a good one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from PIL import Image, ImageDraw

from rtvp.mmio.converters.deeppcb import DEEPPCB_TYPES
from rtvp.mmio.sources import Files, Source

SIZE = (40, 30)
BOX = (10, 5, 20, 25)  # x2 and y2 exclusive


def write_set(folder: Path, source: Source) -> None:
    """Write the smallest set that ``source`` describes, below ``folder``."""
    assert source.files is not None
    assert source.converter is not None
    images = {
        raw: _image_name(source, source.files, raw, number)
        for number, raw in enumerate(source.names, start=1)
    }
    for name in images.values():
        _save(folder / name, Image.new("RGB", SIZE, "gray"))
    if source.files.good is not None:
        _save(folder / _fill(source.files.good, ["good"] * 9), Image.new("RGB", SIZE, "gray"))
    WRITERS[source.converter](folder, source, source.files, images)


def _image_name(source: Source, files: Files, raw: str, number: int) -> str:
    stem = f"image_{number}"
    if source.options.get("category_from") == "file_name":
        stem = f"{raw}_{number}"
    elif source.options.get("category_from") == "pattern":
        stem = f"0001_{raw}_{number:02}"
    *parents, last = files.images.replace("**/", "").split("/")
    by_folder = source.options.get("category_from") == "folder"
    folders = [
        raw if by_folder and "*" in part and fnmatch(raw, part) else part.replace("*", "1")
        for part in parents
    ]
    name = last.replace("*", stem)
    return "/".join([*folders, name if PurePosixPath(name).suffix else f"{name}.jpg"])


def _fill(glob: str, stars: Sequence[str]) -> str:
    """``glob`` with its stars replaced by the last of ``stars``; ``**/`` is dropped."""
    parts = glob.replace("**/", "").split("*")
    words = [*stars[len(stars) - len(parts) + 1 :], ""]
    name = "".join(part + word for part, word in zip(parts, words, strict=True))
    return re.sub(r"\[!?(.).*?\]", "t", name)


def _label_of(files: Files, image: str) -> str:
    """The label file that belongs to ``image``, by what the stars of the image's glob stand for."""
    assert files.labels is not None
    glob = files.images.replace("**/", "")
    found = re.fullmatch(re.escape(glob).replace(r"\*", "(.*)"), image)
    assert found is not None, (glob, image)
    stars = list(found.groups())
    if glob.endswith("*"):
        stars[-1] = PurePosixPath(stars[-1]).stem
    return _fill(files.labels, ["1"] * 9 + stars)


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _yolo(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    raws = list(images)
    table = files.tables["class names"]
    _write(folder / table, "\n".join(raws) if table.endswith(".txt") else yaml.safe_dump({"names": raws}))
    x1, y1, x2, y2 = BOX
    width, height = SIZE
    box = f"{(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
    first = source.options.get("first_id", 0)
    for number, raw in enumerate(raws):
        _write(folder / _label_of(files, images[raw]), f"{first + number} {box}\n")


def _voc(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    for raw, image in images.items():
        sides = "".join(
            f"<{side}>{value}</{side}>"
            for side, value in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
        )
        item = f"<object><name>{raw}</name><bndbox>{sides}</bndbox></object>"
        name = PurePosixPath(image).name
        _write(
            folder / _label_of(files, image), f"<annotation><filename>{name}</filename>{item}</annotation>"
        )


def _mask(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    colours = {raw: colour for colour, raw in source.options.get("classes", {}).items()}
    for raw, image in images.items():
        path = PurePosixPath(image)
        if "masks_at" in source.options:
            places = {"folder": str(path.parent), "stem": path.stem, "class": raw}
            name = source.options["masks_at"].format(**places).replace("*", "1")
        else:
            name = _label_of(files, image)
        mask = Image.new("RGB", SIZE)
        x1, y1, x2, y2 = BOX
        ImageDraw.Draw(mask).rectangle((x1, y1, x2 - 1, y2 - 1), fill=colours.get(raw, "white"))
        _save(folder / name, mask)


def _coco(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    x1, y1, x2, y2 = BOX
    raws = list(images)
    document = {
        "images": [
            {"id": number, "file_name": PurePosixPath(images[raw]).name, "width": SIZE[0], "height": SIZE[1]}
            for number, raw in enumerate(raws, start=1)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for number in range(1, len(raws) + 1)
        ],
        "categories": [{"id": number, "name": raw} for number, raw in enumerate(raws, start=1)],
    }
    _write(folder / _fill(files.tables["annotations"], ["1"] * 9), json.dumps(document))


def _labelme(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    for raw, image in images.items():
        document = {
            "imagePath": PurePosixPath(image).name,
            "imageWidth": SIZE[0],
            "imageHeight": SIZE[1],
            "shapes": [{"label": raw, "shape_type": "rectangle", "points": [BOX[:2], BOX[2:]]}],
        }
        _write(folder / _label_of(files, image), json.dumps(document, ensure_ascii=False))


def _box_list(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    rows = [
        {"name": PurePosixPath(image).name, "defect_name": raw, "bbox": BOX} for raw, image in images.items()
    ]
    text = json.dumps(rows, ensure_ascii=False)
    _write(folder / _fill(files.tables["annotations"], []), text)


def _rle_csv(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    x1, y1, x2, y2 = BOX
    runs = " ".join(f"{x * SIZE[1] + y1 + 1} {y2 - y1}" for x in range(x1, x2))
    rows = [f"{PurePosixPath(image).name},{raw},{runs}" for raw, image in images.items()]
    _write(folder / files.tables["labels"], "\n".join(["ImageId,ClassId,EncodedPixels", *rows]) + "\n")


def _deeppcb(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    pairs = []
    for raw, image in images.items():
        label = _label_of(files, image)
        _write(folder / label, " ".join(map(str, (*BOX, DEEPPCB_TYPES.index(raw) + 1))))
        pairs.append(" ".join(name.removeprefix("PCBData/") for name in (image.replace("_test", ""), label)))
    _write(folder / "PCBData" / "test.txt", "\n".join(pairs))


def _manifest(folder: Path, source: Source, files: Files, images: Mapping[str, str]) -> None:
    rows = []
    for raw, image in images.items():
        path = PurePosixPath(image)
        x1, y1, x2, y2 = BOX
        mask = Image.new("RGB", SIZE, "white")
        ImageDraw.Draw(mask).rectangle((x1, y1, x2 - 1, y2 - 1), fill="#23a436")
        _save(folder / path.parent.with_name("mask-images") / f"{path.stem}.png", mask)
        colours = {"0": {"class-name": raw, "hex-color": "#23A436"}}
        row = {
            "source-ref": f"{path.parent.name}/{path.name}",
            "anomaly-label": 1,
            "anomaly-label-metadata": {"class-name": "anomaly", "type": "groundtruth/image-classification"},
            "anomaly-mask-ref": f"mask-images/{path.stem}.png",
            "anomaly-mask-ref-metadata": {
                "internal-color-map": colours,
                "type": "groundtruth/semantic-segmentation",
            },
        }
        rows.append(json.dumps(row))
    _write(folder / files.tables["manifest"], "\n".join(rows))


Writer = Callable[[Path, Source, Files, Mapping[str, str]], Any]

WRITERS: dict[str, Writer] = {
    "box_list": _box_list,
    "coco": _coco,
    "deeppcb": _deeppcb,
    "labelme": _labelme,
    "manifest": _manifest,
    "mask": _mask,
    "rle_csv": _rle_csv,
    "voc": _voc,
    "yolo": _yolo,
}
