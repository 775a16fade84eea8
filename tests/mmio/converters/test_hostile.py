"""Whatever is done to a label file, no converter crashes, and no box that leaves one is out of its image."""

from __future__ import annotations

import json
import math
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rtvp.mmio.converters import CONVERTERS, MASK_LAYOUTS
from rtvp.mmio.schema import clip_box

VOC = (
    "<annotation>\n<filename>a.png</filename><size><width>40</width><height>30</height></size>\n<object>"
    "<name>dent</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>15</ymax></bndbox></object>\n"
    "</annotation>"
)
COCO = {
    "images": [{"id": 0, "file_name": "a.png", "width": 40, "height": 30}],
    "categories": [{"id": 0, "name": "dent"}],
    "annotations": [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 0,
            "bbox": [3, 4, 17, 11],
            "iscrowd": 0,
            "segmentation": [[3, 4, 20, 4, 20, 15], [30, 20, 35, 20, 35, 28]],
        },
        {
            "id": 1,
            "image_id": 0,
            "category_id": 0,
            "bbox": [0, 0, 0, 0],
            "segmentation": {"size": [30, 40], "counts": [70, 9, 21, 9, 1091]},
        },
        {
            "id": 2,
            "image_id": 0,
            "category_id": 0,
            "segmentation": {"size": [30, 40], "counts": "V29e00^Q1"},
        },
    ],
}
LABELME = {
    "imagePath": "a.png",
    "imageWidth": 40,
    "imageHeight": 30,
    "shapes": [
        {"label": "dent", "shape_type": "polygon", "points": [[3, 4], [20, 4], [20, 15]], "group_id": 1},
        {"label": "hole", "shape_type": "circle", "points": [[20, 15], [25, 15]]},
        {"label": "hole", "shape_type": "point", "points": [[20, 15]]},
    ],
}
MANIFEST = {
    "source-ref": "s3://bucket/set/a.png",
    "mask-ref": "s3://bucket/set/masks/a.png",
    "mask-ref-metadata": {
        "internal-color-map": {"1": {"class-name": "crack", "hex-color": "#ffffff"}},
        "type": "groundtruth/semantic-segmentation",
    },
    "box": {"annotations": [{"class_id": 0, "left": 3, "top": 4, "width": 17, "height": 11}]},
    "box-metadata": {"class-map": {"0": "dent"}, "type": "groundtruth/object-detection"},
}

# Name of the layout -> the label file that is mutilated, its content, and the options.
SETS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "box_list": (
        "t.json",
        json.dumps([{"name": "a.png", "defect_name": "dent", "bbox": [3, 4, 20, 15]}], indent=1),
        {"table": "t.json"},
    ),
    "coco": ("a.json", json.dumps(COCO), {"crowds": True}),
    "deeppcb": ("a.txt", "3 4 20 15 1\n5,6,30,25,6\n", {}),
    "labelme": ("a.json", json.dumps(LABELME), {"point_size": 5}),
    "manifest": ("a.manifest", json.dumps(MANIFEST), {}),
    "mask": ("masks/a.png", "", {"images": "*", "masks_at": "masks/{stem}.png"}),
    "rle_csv": ("train.csv", "ImageId,ClassId,EncodedPixels\na.png,1,3 9 40 200\n", {"images": "."}),
    "voc": ("a.xml", VOC, {}),
    "yolo": (
        "a.txt",
        "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.9 0.1 0.9 0.9 0.2 0.8 0.1 0.5\n",
        {"classes": ["a", "b"]},
    ),
}

# What hostile hands would put in.
PIECES = [
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 5000,
    b"\xff\xfe",
    b"\0",
    b"[" * 3000,
    b"../",
    b"null",
    b"\r",
    b'"',
    b"{}",
]


@pytest.fixture(scope="module")
def templates() -> Iterator[Path]:
    """One folder per layout, whole."""
    with tempfile.TemporaryDirectory() as folder:
        for layout, (label, text, _) in SETS.items():
            root = Path(folder, layout)
            (root / "masks").mkdir(parents=True)
            mask = np.zeros((30, 40), np.uint8)
            mask[4:15, 3:20] = 255
            Image.fromarray(mask).save(root / "masks/a.png")
            Image.new("RGB", (40, 30)).save(root / ("a_test.jpg" if layout == "deeppcb" else "a.png"))
            (root / "trainval.txt").write_text("a.jpg a.txt\n" if layout == "deeppcb" else "")
            if text:
                (root / label).write_text(text)
        yield Path(folder)


def mutilate(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 3)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice([0, 1, 4, 40]))
        repeated = data[rng.randint(0, len(data)) :][:30]
        piece = rng.choice([b"", rng.choice(PIECES), bytes([rng.randrange(256)]), repeated])
        data = data[:start] if rng.random() < 0.1 else data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("layout", sorted(SETS))
def test_the_whole_files_are_read(templates: Path, layout: str) -> None:
    assert set(SETS) == set(CONVERTERS)
    conversion = CONVERTERS[layout](templates / layout, **SETS[layout][2])
    assert conversion.broken == ()
    assert max(len(image.annotations) for image in conversion.images) >= 1


@pytest.mark.parametrize("layout", sorted(SETS))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_mutilated_files_are_read_or_reported(templates: Path, layout: str, seed: int) -> None:
    label, _, options = SETS[layout]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "set")
        shutil.copytree(templates / layout, root)
        data = (root / label).read_bytes()
        (root / label).write_bytes(mutilate(data, random.Random(seed)))
        masks = {"masks": True} if layout in MASK_LAYOUTS else {}
        conversion = CONVERTERS[layout](root, **masks, **options)
    for image in conversion.images:
        for annotation in image.annotations:
            assert all(map(math.isfinite, annotation.box_xyxy))
            assert clip_box(annotation.box_xyxy, image.width, image.height) == annotation.box_xyxy
    assert all(line.split(":")[0] in {label, "a.png"} for line in conversion.broken)
    assert len(conversion.broken) <= sum(conversion.problems.values())
