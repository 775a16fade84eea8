"""Tiny MS-COCO and LVIS, in the layout of the official downloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 64
COCO_NAMES = ("cat", "dog")
# name -> LVIS's frequency; image k of a side shows one box of name k modulo their number.
LVIS_NAMES = {"air_conditioner": "f", "alarm_clock": "c", "aerosol_can": "r"}


def write_coco(folder: Path, images: int = 4) -> Path:
    """``annotations/instances_{train,val}2017.json``, ``train2017/``, ``val2017/``; the last box: a crowd."""
    for side in ("train", "val"):
        content = _content(folder, side, images, [{"name": name} for name in COCO_NAMES])
        for image in content["images"]:
            image["file_name"] = image.pop("coco_url").rpartition("/")[2]
        content["annotations"][-1]["iscrowd"] = 1
        _write(folder / "annotations" / f"instances_{side}2017.json", content)
    return folder


def write_lvis(folder: Path, images: int = 6) -> Path:
    """``lvis_v1_{train,val}.json`` and the images of MS-COCO."""
    for side in ("train", "val"):
        names = [{"name": name, "frequency": frequency} for name, frequency in LVIS_NAMES.items()]
        content = _content(folder, side, images, names)
        for image in content["images"]:
            image |= {"neg_category_ids": [2], "not_exhaustive_category_ids": []}
        _write(folder / f"lvis_v1_{side}.json", content)
    return folder


def _content(folder: Path, side: str, images: int, names: list[dict[str, Any]]) -> dict[str, Any]:
    categories = [{"id": number, **name} for number, name in enumerate(names, start=1)]
    entries, annotations = [], []
    for number in range(1, images + 1):
        name = f"{number:012}.jpg"
        path = folder / f"{side}2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        url = f"http://images.cocodataset.org/{side}2017/{name}"
        entries.append({"id": number, "width": SIDE, "height": SIDE, "coco_url": url})
        category = (number - 1) % len(names) + 1
        box = {"bbox": [8.0, 8.0, 24.0, 32.0], "area": 700.0, "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": category, **box})
    return {"images": entries, "annotations": annotations, "categories": categories}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
