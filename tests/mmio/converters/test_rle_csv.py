from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtvp.mmio.converters.rle_csv import convert_rle_csv
from rtvp.mmio.rle import decode_counts, parse_counts

Write = Callable[..., Path]
SIZE = (30, 20)


def runs(*boxes: tuple[int, int, int, int]) -> str:
    """Run lengths of boxes that share no column, for an image of 30 x 20."""
    pairs = [(x * 20 + y1 + 1, y2 - y1) for x1, y1, x2, y2 in boxes for x in range(x1, x2)]
    return " ".join(f"{start} {length}" for start, length in pairs)


@pytest.fixture
def steel(tmp_path: Path, write_image: Write) -> Path:
    for name in "abcd":
        write_image(f"train_images/{name}.jpg", size=SIZE)
    write_image("test_images/e.jpg", size=SIZE)
    return tmp_path


BOTH = {
    "new": f"ImageId,ClassId,EncodedPixels\na.jpg,1,{runs((2, 3, 9, 8), (12, 0, 20, 20))}\n"
    f"a.jpg,3,{runs((2, 10, 9, 20))}\nb.jpg,4,{runs((0, 0, 2, 2), (25, 1, 30, 9))}\n",
    "old": f"ImageId_ClassId,EncodedPixels\r\na.jpg_1,{runs((2, 3, 9, 8), (12, 0, 20, 20))}\r\na.jpg_2,\r\n"
    f"a.jpg_3,{runs((2, 10, 9, 20))}\r\nb.jpg_4,{runs((0, 0, 2, 2), (25, 1, 30, 9))}\r\nd.jpg_1,\r\n",
}


@pytest.mark.parametrize("table", list(BOTH))
def test_both_kinds_of_table(steel: Path, table: str) -> None:
    (steel / "train.csv").write_bytes(BOTH[table].encode())
    names = {"1": "pitted", "3": "scratch", "4": "patch"}
    conversion = convert_rle_csv(steel, names=names, masks=True)
    read = {image.path.name: [(a.name, a.box_xyxy) for a in image.annotations] for image in conversion.images}
    assert read == {
        "a.jpg": [("pitted", (12, 0, 20, 20)), ("pitted", (2, 3, 9, 8)), ("scratch", (2, 10, 9, 20))],
        "b.jpg": [("patch", (25, 1, 30, 9))],
        "c.jpg": [],
        "d.jpg": [],
    }
    assert conversion.problems == {"image that no label names": 1, "mask component under 9 pixels dropped": 1}
    mask = conversion.images[0].annotations[1].mask
    assert mask is not None
    expected = np.zeros((20, 30), np.uint8)
    expected[3:8, 2:9] = 1
    assert np.array_equal(decode_counts(parse_counts(mask, SIZE), SIZE), expected)


def test_images_that_the_table_does_not_name_may_be_left_out(steel: Path) -> None:
    (steel / "train.csv").write_text(BOTH["new"])
    conversion = convert_rle_csv(steel, unlisted="skip")
    assert [image.path.name for image in conversion.images] == ["a.jpg", "b.jpg"]
    assert conversion.problems["image that no label names"] == 3
    assert convert_rle_csv(steel, table="nosuch.csv").problems == {"no annotation file found": 1}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.jpg,1,1 2 3", "image skipped: malformed run lengths"),
        ("a.jpg,1,599 3", "image skipped: malformed run lengths"),
        ("a.jpg,1,1 99999999999999999999", "image skipped: malformed run lengths"),
        ("a.jpg,1,nan 3", "image skipped: malformed run lengths"),
        ("a.jpg,1,9 3 1 4", "image skipped: malformed run lengths"),
        ("a.jpg,1", "label line does not parse"),
        (",1,1 2", "label line does not parse"),
        ("a.jpg,1,1 \x00 2", ""),
        ("../../etc/passwd,1,1 2", "label names a path outside the folder"),
        ("nosuch.jpg,1,1 2", "label names a missing image"),
    ],
)
def test_malformed_rows_are_reported(steel: Path, row: str, problem: str) -> None:
    (steel / "train.csv").write_text(f"ImageId,ClassId,EncodedPixels\nc.jpg,1,1 20\n{row}\n")
    conversion = convert_rle_csv(steel, unlisted="skip")
    assert [image.path.name for image in conversion.images] == ["c.jpg"]
    assert any(problem in key for key in conversion.problems)
    if "missing" not in problem:
        (broken,) = conversion.broken
        assert broken.startswith("train.csv:3: expected")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"Image,Class,Pixels\na.jpg,1,1 20\n", "train.csv:1: expected the columns"),
        (b"", "train.csv:1: expected the columns"),
        (b"ImageId,ClassId,EncodedPixels\na.jpg,1,\xff\n", "train.csv:2: expected UTF-8 text"),
    ],
)
def test_tables_that_do_not_parse_are_reported(steel: Path, content: bytes, place: str) -> None:
    (steel / "train.csv").write_bytes(content)
    assert convert_rle_csv(steel, unlisted="skip").broken[0].startswith(place)
