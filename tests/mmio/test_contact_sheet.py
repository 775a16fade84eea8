from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from report_data import make_item

from rtvp.errors import RtvpError
from rtvp.mmio.annotated_example import (
    CELL_SIZE,
    GOOD_COLOUR,
    PAPER,
    PICTURE_SIDE,
    draw_example,
    name_colours,
)
from rtvp.mmio.contact_sheet import MAX_EXAMPLES, MIN_EXAMPLES, contact_sheet
from rtvp.mmio.schema import Annotation, Box, Item

BOX: Box = (20.0, 20.0, 60.0, 60.0)


def save(folder: Path, item: Item, colour: tuple[int, int, int] = (128, 128, 128)) -> Item:
    path = folder / item.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (item.width, item.height), colour).save(path)
    return item


def drawn(item: Item, picture: Image.Image | None = None) -> NDArray[np.int64]:
    colours = name_colours(sorted({annotation.name for annotation in item.annotations}))
    grey = Image.new("RGB", (item.width, item.height), (128, 128, 128))
    return np.asarray(draw_example(1, item, picture or grey, colours), dtype=np.int64)


def pixels_of(cell: NDArray[np.int64], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.all(cell == colour, axis=2)


def test_a_box_is_framed_where_it_is() -> None:
    item = make_item("plates", "a.png", ("dent", (50.0, 25.0, 100.0, 75.0)), size=(150, 100))
    cell = drawn(item)
    assert cell.shape == (CELL_SIZE[1], CELL_SIZE[0], 3)
    # Twice as large, and 50 px lower, as the picture is less high than wide.
    framed = pixels_of(cell[:PICTURE_SIDE], name_colours(["dent"])["dent"])
    frame = np.argwhere(framed[:, 230:])
    assert len(frame) == 0
    column = np.flatnonzero(framed[:, 150])
    assert column.min() in range(80, 101) and column.max() in range(198, 203)
    row = np.flatnonzero(framed[180])
    assert row.min() in range(97, 101) and row.max() in range(199, 203)
    assert not pixels_of(cell[105:195, 105:195], name_colours(["dent"])["dent"]).any()
    assert (cell[10, 10] == PAPER).all() and (cell[60, 10] == 128).all()


def test_a_tiny_box_is_made_visible_and_put_under_a_lens() -> None:
    pixels = np.full((1000, 1000, 3), 90, np.uint8)
    pixels[500:504, 300:304] = (0, 0, 255)  # a dot that would be about a pixel
    item = make_item("plates", "a.png", ("pore", (300.0, 500.0, 304.0, 504.0)), size=(1000, 1000))
    cell = drawn(item, Image.fromarray(pixels))
    blue = (cell[:PICTURE_SIDE, :, 2] > 150) & (cell[:PICTURE_SIDE, :, 0] < 60)
    assert blue.sum() > 50  # of the lens
    framed = np.argwhere(pixels_of(cell[130:170, 70:110], name_colours(["pore"])["pore"]))
    assert np.ptp(framed, axis=0).min() >= 11
    # The dot is at 150.6, 90.6; the line to the lens leaves the frame to the upper right.
    assert framed[:, 0].max() + 130 in range(155, 159)
    assert framed[:, 1].min() + 70 in range(82, 86)


def test_a_large_box_needs_no_lens() -> None:
    item = make_item("plates", "a.png", ("dent", (0.0, 0.0, 90.0, 90.0)), size=(100, 100))
    cell = drawn(item)
    colour = name_colours(["dent"])["dent"]
    assert not pixels_of(cell[200:296, 280:PICTURE_SIDE], colour).any()


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000), (17, 4000)])
def test_any_shape_of_image_and_box_is_drawn(size: tuple[int, int]) -> None:
    whole = (0.0, 0.0, float(size[0]), float(size[1]))
    corner = (size[0] - 1.0, size[1] - 1.0, float(size[0]), float(size[1]))
    item = make_item("plates", "a.png", ("a", whole), ("名 " * 40, corner), ("$", corner), size=size)
    assert drawn(item).shape == (CELL_SIZE[1], CELL_SIZE[0], 3)


def test_many_categories_and_long_names_stay_in_the_cell() -> None:
    boxes = [(f"a very long name of a defect number {i} " * 3, BOX) for i in range(12)]
    assert drawn(make_item("plates", "a.png", *boxes)).shape[:2] == CELL_SIZE[::-1]


def test_a_good_image_says_so() -> None:
    caption = drawn(make_item("plates", "good.png"))[PICTURE_SIDE:]
    assert pixels_of(caption, GOOD_COLOUR).any()


def test_colours_of_neighbours_differ() -> None:
    colours = name_colours([str(number) for number in range(8)])
    assert len(set(colours.values())) == 8


def test_every_category_is_shown_and_the_last_example_is_good(tmp_path: Path) -> None:
    items = [save(tmp_path, make_item("plates", f"{i}.png", ("common", BOX))) for i in range(40)]
    items += [save(tmp_path, make_item("plates", f"r{i}.png", (f"rare {i}", BOX))) for i in range(5)]
    items += [save(tmp_path, make_item("plates", f"g{i}.png")) for i in range(3)]
    sheet = contact_sheet(items, {"plates": tmp_path})
    shown = Counter(annotation.name for item in sheet.shown for annotation in item.annotations)
    assert len(sheet.shown) == MIN_EXAMPLES
    assert shown == {"common": 2, **{f"rare {i}": 1 for i in range(5)}}
    assert not sheet.shown[-1].annotations
    assert all(item.annotations for item in sheet.shown[:-1])
    width, height = sheet.picture.size
    assert width >= 4 * CELL_SIZE[0] and 2 * CELL_SIZE[1] <= height < 3 * CELL_SIZE[1]


def test_categories_take_turns_and_images_come_by_their_hash(tmp_path: Path) -> None:
    items = [save(tmp_path, make_item("plates", f"a{i}.png", ("a", BOX))) for i in range(20)]
    items += [save(tmp_path, make_item("plates", f"b{i}.png", ("b", BOX))) for i in range(9)]
    shown = contact_sheet(items, {"plates": tmp_path}).shown
    assert [item.annotations[0].name for item in shown] == ["b", "a"] * 4
    ordered = sorted(items, key=lambda item: item.sha256)
    assert [item for item in shown if item.file_name[0] == "a"] == [
        item for item in ordered if item.file_name[0] == "a"
    ][:4]


def test_the_sheet_grows_with_the_categories_up_to_a_limit(tmp_path: Path) -> None:
    items = [save(tmp_path, make_item("plates", f"{i}.png", (f"defect {i}", BOX))) for i in range(30)]
    assert len(contact_sheet(items[:11], {"plates": tmp_path}).shown) == 11
    assert len(contact_sheet(items, {"plates": tmp_path}).shown) == MAX_EXAMPLES


def test_images_of_one_group_come_once_until_all_had_their_turn(tmp_path: Path) -> None:
    items = [save(tmp_path, make_item("plates", f"{i}.png", ("a", BOX), group="one")) for i in range(20)]
    items += [save(tmp_path, make_item("plates", f"x{i}.png", ("a", BOX))) for i in range(4)]
    groups = [item.group for item in contact_sheet(items, {"plates": tmp_path}).shown]
    assert len(set(groups[:5])) == 5
    assert groups[5:] == ["plates/one"] * 3


def test_broken_images_are_passed_over_and_named(tmp_path: Path) -> None:
    items = [make_item("plates", f"{i:02}.png", ("dent", BOX)) for i in range(12)]
    for item in items:
        save(tmp_path, item)
    cut = (tmp_path / "00.png").read_bytes()
    (tmp_path / "00.png").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "01.png").write_text("no image")
    (tmp_path / "02.png").unlink()
    Image.new("RGB", (50, 100)).save(tmp_path / "03.png")
    outside = make_item("plates", "../secret.png", ("dent", BOX))
    save(tmp_path, outside)
    wanted = items[4:]
    sheet = contact_sheet([*items, outside], {"plates": tmp_path})
    assert {item.key for item in sheet.shown} <= {item.key for item in wanted}
    every = contact_sheet([*items[:4], outside], {"plates": tmp_path})
    assert every.shown == ()
    reasons = dict(line.split(": ", 1) for line in every.skipped)
    assert set(reasons) == {item.key for item in (*items[:4], outside)}
    assert "got other content" in reasons["plates/01.png"]
    assert "No such file" in reasons["plates/02.png"]
    assert "it has 50 x 100 px, its labels say 100 x 100" in reasons["plates/03.png"]
    assert "leaves the folder" in reasons["plates/../secret.png"]


def test_a_source_without_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="expected the folder of every source, got none for 'plates'"):
        contact_sheet([make_item("plates", "a.png", ("dent", BOX))], {"strip": tmp_path})


def test_images_of_any_mode_are_shown_upright(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 100 * 60).reshape(60, 100)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.new("LA", (100, 60), (0, 0)).save(tmp_path / "clear.png")
    turned = Image.new("RGB", (60, 100), (200, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    names = ("deep.png", "clear.png", "turned.jpg")
    items = [make_item("plates", name, ("dent", BOX), size=(100, 60)) for name in names]
    sheet = contact_sheet(items, {"plates": tmp_path})
    assert sheet.skipped == ()
    order = [item.file_name for item in sheet.shown]
    pixels = np.asarray(sheet.picture).astype(int)
    # 10 px from the lower right corner of each picture, which is 180 px high.
    x, y = 12 + PICTURE_SIDE - 10, 12 + 60 + 180 - 10
    deep, clear, red = (pixels[y, x + order.index(name) * (12 + PICTURE_SIDE)] for name in names)
    assert deep.min() > 230 and clear.min() > 250
    assert red[0] > 180 and red[1] < 30


def test_a_huge_jpeg_is_decoded_reduced_with_its_boxes_in_place(tmp_path: Path) -> None:
    pixels = np.full((4400, 4400), 20, np.uint8)
    pixels[1000:3000, 1000:3000] = 220
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    box = (1000.0, 1000.0, 3000.0, 3000.0)
    item = make_item("plates", "a.jpg", ("dent", box), size=(4400, 4400))
    sheet = contact_sheet([item], {"plates": tmp_path})
    cell = np.asarray(sheet.picture)[12 : 12 + PICTURE_SIDE, 12 : 12 + PICTURE_SIDE].astype(int)
    assert cell[75:198, 75:198].min() > 200
    assert cell[210:, 210:].max() < 60


def test_the_sheet_depends_on_nothing_but_the_images(tmp_path: Path) -> None:
    items = [
        save(tmp_path, make_item("plates", f"{i}.png", *((f"d{j}", BOX) for j in range(i % 4))))
        for i in range(20)
    ]
    first = contact_sheet(items, {"plates": tmp_path})
    random.Random(1).shuffle(items)
    again = contact_sheet(items, {"plates": tmp_path})
    assert again.shown == first.shown
    assert again.to_jpeg() == first.to_jpeg()


HASH_SEED_SCRIPT = """
import hashlib, sys
from pathlib import Path
from report_data import make_item
from rtvp.mmio.contact_sheet import contact_sheet
boxes = [(f"d{j}", (10 * j, 5, 60, 60)) for j in range(5)]
items = [make_item("plates", f"{i}.png", *boxes[: i % 6]) for i in range(20)]
print(hashlib.sha256(contact_sheet(items, {"plates": Path(sys.argv[1])}).to_jpeg()).hexdigest())
"""


def test_the_sheet_is_the_same_whatever_the_hash_seed(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path, make_item("plates", f"{i}.png"))
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    digests = {
        subprocess.run(
            [sys.executable, "-c", HASH_SEED_SCRIPT, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1 and len(digests.pop().strip()) == 64


def test_annotations_on_one_place_are_all_in_the_caption() -> None:
    item = make_item("plates", "a.png", ("a", BOX), ("b", BOX))
    assert item.annotations[0] == Annotation("a", BOX)
    caption = drawn(item)[PICTURE_SIDE:]
    for colour in name_colours(["a", "b"]).values():
        assert pixels_of(caption, colour).sum() >= 64
