from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtvp.mmio.categories import RawName
from rtvp.mmio.crops import crop_defects
from rtvp.mmio.schema import Annotation, Box, Item

WriteImage = Callable[..., Path]
SIZE = 200
POINT = (120, 60)  # the one bright pixel: x, y


def pixels(level: int = 10) -> np.ndarray:
    image = np.full((100, SIZE), level, np.uint8)
    image[POINT[1], POINT[0]] = 255
    return image


def item(name: str, *boxes: tuple[str, Box], group: str = "") -> Item:
    annotations = tuple(Annotation(*entry) for entry in boxes)
    return Item("s", name, SIZE, 100, name.zfill(64), f"s/{group or name}", annotations)


def test_a_crop_has_a_margin_and_a_least_side(write_image: WriteImage) -> None:
    root = write_image("1.png", pixels()).parent
    crops = crop_defects([item("1.png", ("hole", (80.0, 58.0, 160.0, 62.0)))], {"s": root})
    (crop,) = crops(RawName("s", "hole"))
    assert crop.shape == (48, 120, 3) and crop.dtype == np.uint8
    assert np.argwhere(crop[:, :, 0] == 255).tolist() == [[POINT[1] - 36, POINT[0] - 60]]


def test_a_crop_ends_at_the_border(write_image: WriteImage) -> None:
    root = write_image("1.png", pixels()).parent
    crops = crop_defects([item("1.png", ("hole", (100.0, 50.0, 200.0, 100.0)))], {"s": root})
    (crop,) = crops(RawName("s", "hole"))
    assert crop.shape == (63, 125, 3)


def test_the_largest_defect_of_an_image_is_shown(write_image: WriteImage) -> None:
    root = write_image("1.png", pixels()).parent
    boxes = [
        ("hole", (0.0, 0.0, 9.0, 9.0)),
        ("hole", (20.0, 0.0, 100.0, 80.0)),
        ("cut", (0.0, 0.0, 200.0, 100.0)),
    ]
    crops = crop_defects([item("1.png", *boxes)], {"s": root})
    assert [crop.shape for crop in crops(RawName("s", "hole"))] == [(100, 120, 3)]
    assert [crop.shape for crop in crops(RawName("s", "cut"))] == [(100, 200, 3)]
    assert crops(RawName("s", "stain")) == crops(RawName("t", "hole")) == []


def test_groups_come_in_turn_and_the_order_of_items_does_not_matter(write_image: WriteImage) -> None:
    items = []
    for level in range(6):
        root = write_image(f"{level}.png", pixels(level)).parent
        items.append(item(f"{level}.png", ("hole", (0.0, 0.0, 50.0, 50.0)), group="abbbcc"[level]))
    for order in (items, items[::-1]):
        crops = crop_defects(order, {"s": root}, count=4)(RawName("s", "hole"))
        assert [int(crop[0, 0, 0]) for crop in crops] == [0, 1, 4, 2]


def test_an_image_is_turned_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    Image.fromarray(pixels()).save(tmp_path / "1.png", exif=exif)
    turned = replace(item("1.png", ("hole", (0.0, 80.0, 100.0, 160.0))), width=100, height=SIZE)
    (crop,) = crop_defects([turned], {"s": tmp_path})(RawName("s", "hole"))
    assert crop.shape == (120, 100, 3)
    assert np.argwhere(crop[:, :, 0] == 255).tolist() == [[POINT[0] - 60, 99 - POINT[1]]]


@pytest.mark.parametrize("name", ["none.png", "broken.png", "../outside.png"])
def test_what_cannot_be_read_is_passed_over(write_image: WriteImage, name: str) -> None:
    outside = write_image("outside.png", pixels())
    root = write_image("set/1.png", pixels()).parent
    (root / "broken.png").write_bytes(outside.read_bytes()[:60])
    box = ("hole", (0.0, 0.0, 50.0, 50.0))
    crops = crop_defects([item(name, box), item("1.png", box)], {"s": root})(RawName("s", "hole"))
    assert len(crops) == 1
