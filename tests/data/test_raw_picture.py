"""Pictures that stay on disk."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from rtvp.data.images import read_image
from rtvp.data.raw_picture import LAYOUTS, Piece, RawPicture, open_raw
from rtvp.errors import RtvpError

HEIGHT, WIDTH = 45, 61


def noise(channels: int, brightest: int = 255) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    return rng.integers(0, brightest + 1, (HEIGHT, WIDTH, channels), dtype=np.uint16)


def tiled_tiff(samples: NDArray[np.uint8], side: int) -> bytes:
    """An RGB TIFF without compression, in tiles; those at the edges are filled up, as the format asks."""
    height, width = samples.shape[:2]
    padded = np.pad(samples, ((0, -height % side), (0, -width % side), (0, 0)), constant_values=77)
    tiles = [
        padded[y : y + side, x : x + side].tobytes()
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    offsets = [8 + index * len(tiles[0]) for index in range(len(tiles))]
    end = 8 + sum(map(len, tiles))
    depths, places = end, end + 6
    sizes = places + 4 * len(tiles)
    short, long = 3, 4
    entries = [
        (256, long, 1, width), (257, long, 1, height), (258, short, 3, depths), (259, short, 1, 1),
        (262, short, 1, 2), (277, short, 1, 3), (284, short, 1, 1), (322, long, 1, side),
        (323, long, 1, side), (324, long, len(tiles), places), (325, long, len(tiles), sizes),
    ]  # fmt: skip
    lists = struct.pack("<3H", 8, 8, 8) + struct.pack(f"<{len(tiles)}I", *offsets)
    lists += struct.pack(f"<{len(tiles)}I", *map(len, tiles))
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", end + len(lists)) + b"".join(tiles) + lists + directory + bytes(4)


def write(path: Path, kind: str) -> Path:
    rgb = noise(3).astype(np.uint8)
    if kind == "tiled.tif":
        path.write_bytes(tiled_tiff(rgb, 16))
    elif kind == "strips.tif":
        how = [cv2.IMWRITE_TIFF_COMPRESSION, 1, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 7]
        assert cv2.imwrite(str(path), rgb, how)
    elif kind.startswith("grey16"):
        Image.fromarray(noise(1, 3000)[:, :, 0]).save(path)
    elif kind.startswith("grey"):
        Image.fromarray(rgb[:, :, 0]).save(path)
    else:
        Image.fromarray(rgb).save(path)
    return path


KINDS = (
    "a.bmp",
    "a.tif",
    "a.ppm",
    "grey.bmp",
    "grey.tif",
    "grey.pgm",
    "grey16.tif",
    "strips.tif",
    "tiled.tif",
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_decoded_whole(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / kind, kind)
    whole, raw = read_image(path), open_raw(path, 0)
    assert raw is not None
    assert raw.shape == whole.shape
    np.testing.assert_array_equal(raw[:, :], whole)
    for rows, columns in (
        (slice(3, 20), slice(11, 60)),
        (slice(16, 17), slice(0, 1)),
        (slice(40, 45), slice(61)),
    ):
        np.testing.assert_array_equal(raw[rows, columns], whole[rows, columns])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_any_window_of_any_pieces(tmp_path: Path, data: st.DataObject) -> None:
    path = write(tmp_path / "tiled.tif", "tiled.tif")
    raw = open_raw(path, 0)
    assert raw is not None
    assert len(raw.pieces) == 12
    y1, y2 = sorted(data.draw(st.lists(st.integers(0, HEIGHT), min_size=2, max_size=2, unique=True)))
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, WIDTH), min_size=2, max_size=2, unique=True)))
    np.testing.assert_array_equal(raw[y1:y2, x1:x2], noise(3).astype(np.uint8)[y1:y2, x1:x2])


def test_strips_that_follow_each_other_are_one_piece(tmp_path: Path) -> None:
    raw = open_raw(write(tmp_path / "strips.tif", "strips.tif"), 0)
    assert raw is not None
    assert [piece[:4] for piece in raw.pieces] == [(0, 0, WIDTH, HEIGHT)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(width=st.integers(1, WIDTH), height=st.integers(1, HEIGHT), block=st.integers(1, HEIGHT * WIDTH))
def test_smaller_as_opencv_makes_it(
    tmp_path: Path, width: int, height: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = open_raw(write(tmp_path / "a.bmp", "a.bmp"), 0)
    assert raw is not None
    expected = cv2.resize(noise(3).astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)
    with monkeypatch.context() as patch:
        patch.setattr("rtvp.data.raw_picture.BLOCK_PIXELS", block)
        got = raw.resized(width, height)
    assert np.abs(got.astype(int) - expected.reshape(got.shape)).max() <= 1


def test_white_of_16_bits_is_that_of_the_whole_picture(tmp_path: Path) -> None:
    samples = np.full((HEIGHT, WIDTH), 100, np.uint16)
    samples[-1, -1] = 4000  # 12 bits
    Image.fromarray(samples).save(tmp_path / "a.tif")
    raw = open_raw(tmp_path / "a.tif", 0)
    assert raw is not None
    np.testing.assert_array_equal(raw[:2, :2], np.full((2, 2, 3), round(100 * 255 / 4095)))


def test_larger_than_what_pillow_opens(tmp_path: Path) -> None:
    path, side = tmp_path / "huge.pgm", 30_000
    header = b"P5 30000 30000 255\n"
    with path.open("wb") as file:  # sparse: its pixels take no room until they are written
        file.write(header)
        file.seek(len(header) + side * 29_999 + 29_990)
        file.write(bytes(range(10)))
    raw = open_raw(path, 100_000_000)
    assert raw is not None
    assert raw.shape == (side, side, 3)
    np.testing.assert_array_equal(
        raw[
            29_998:,
            29_990:,
        ][:, :, 1],
        [[0] * 10, list(range(10))],
    )


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", "a.tif")
    path.write_bytes(path.read_bytes()[:-1000])
    raw = open_raw(path, 0)
    assert raw is not None
    raw[:2, :2]
    with pytest.raises(RtvpError, match=r"cannot read image .*a\.tif: it is damaged \(the file ends early\)"):
        raw.resized(4, 4)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    raw = RawPicture(tmp_path / "a.bmp", (4, 4), [Piece(0, 0, 4, 4, 0, 4, False)], LAYOUTS["L"])
    with pytest.raises(RtvpError, match=r"cannot read image .*a\.bmp: No such file"):
        raw[:, :]


def save(path: Path, mode: str = "RGB", **options: Any) -> Path:
    Image.fromarray(noise(4).astype(np.uint8), "RGBA").convert(mode).save(path, **options)
    return path


def test_what_only_pillow_can_read(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    others = [
        save(tmp_path / "packed.tif", compression="tiff_lzw"),
        save(tmp_path / "a.png"),
        save(tmp_path / "a.jpg"),
        save(tmp_path / "clear.tif", "RGBA"),
        save(tmp_path / "print.tif", "CMYK"),
        save(tmp_path / "turned.tif", exif=turned),
        save(tmp_path / "palette.bmp", "P"),
        save(tmp_path / "bits.bmp", "1"),
        tmp_path / "missing.bmp",
        tmp_path,
    ]
    (tmp_path / "broken.bmp").write_bytes(b"BM but no picture")
    assert [open_raw(path, 0) for path in [*others, tmp_path / "broken.bmp"]] == [None] * (len(others) + 1)


def test_small_ones_are_read_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bmp", "a.bmp")
    assert open_raw(path, HEIGHT * WIDTH) is None
    assert open_raw(path, HEIGHT * WIDTH - 1) is not None
