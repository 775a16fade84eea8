"""Every kind of image is read rightly, all else is one clear error; the letterbox keeps its promise."""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rtvp.data.images import (
    MAX_PIXELS,
    PAD_VALUE,
    content_size,
    find_images,
    letterbox,
    read_image,
    run_by_shape,
    to_rgb,
)
from rtvp.errors import RtvpError

# 2 x 3 pixels, no two alike: a flip, a turn or a swap of channels shows.
RGB = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [255, 255, 255]]], dtype=np.uint8
)
GREY = np.array([[0, 60, 120], [180, 240, 255]], dtype=np.uint8)


def stacked(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def saved(path: Path, image: np.ndarray, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)
    return path


# ---- formats


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif", "jp2", "webp"])
def test_lossless_formats_give_the_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    if suffix == "gif":  # six colours fit a palette
        Image.fromarray(RGB).quantize(6).save(path)
    else:
        saved(path, RGB, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, RGB)


def test_jpeg_is_close(tmp_path: Path) -> None:
    colour = np.full((16, 24, 3), (200, 100, 50), dtype=np.uint8)
    image = read_image(saved(tmp_path / "image.jpg", colour, quality=95))
    assert np.abs(image.astype(int) - colour).max() <= 3


def test_grey(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(saved(tmp_path / "image.png", GREY)), stacked(GREY))


def test_one_bit(tmp_path: Path) -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    np.testing.assert_array_equal(
        read_image(saved(tmp_path / "image.png", bits)), stacked(bits * np.uint8(255))
    )


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (3, 2))
    image.putdata([0, 1, 2, 2, 1, 0])
    image.putpalette([9, 8, 7, 100, 0, 200, 0, 255, 0])
    image.save(tmp_path / "image.png")
    expected = np.array([[9, 8, 7], [100, 0, 200], [0, 255, 0]], dtype=np.uint8)[[[0, 1, 2], [2, 1, 0]]]
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


def test_cmyk(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow ink: red
    image.save(tmp_path / "image.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), np.full((8, 8, 3), (255, 0, 0)))
    image.save(tmp_path / "image.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "image.jpg").astype(int) - (255, 0, 0)).max() <= 3


def test_transparency_shows_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0] = [(200, 0, 0, 255), (200, 0, 0, 0), (0, 0, 0, 127)]
    expected = np.array([[[200, 0, 0], [255, 255, 255], [128, 128, 128]]], dtype=np.uint8)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "rgba.png", rgba)), expected)
    grey_alpha = np.array([[[50, 255], [50, 0]]], dtype=np.uint8)
    image = read_image(saved(tmp_path / "la.png", grey_alpha))
    np.testing.assert_array_equal(image, stacked(np.array([[50, 255]], dtype=np.uint8)))


def test_transparent_palette_entry_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 250, 0, 0])
    image.putdata([0, 1])
    image.save(tmp_path / "image.png", transparency=0)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), [[[255, 255, 255], [250, 0, 0]]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_is_scaled_by_the_depth_that_holds_it(tmp_path: Path, suffix: str, bits: int) -> None:
    white = 2**bits - 1
    samples = np.array([[0, white // 2, white]], dtype=np.uint16)
    image = read_image(saved(tmp_path / f"image.{suffix}", samples))
    np.testing.assert_array_equal(image, stacked(np.array([[0, 127, 255]], dtype=np.uint8)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colour_keeps_its_low_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    """12-bit colour in a 16-bit file: the high byte alone would be nearly black."""
    samples = np.zeros((1, 2, channels), dtype=np.uint16)
    samples[0, 0, :3], samples[0, 1, :3] = (4095, 0, 2048), (0, 1024, 4095)
    samples[:, :, 3:] = 4095
    bgr = samples[:, :, [2, 1, 0, 3][:channels]]
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(cv2.imencode(f".{suffix}", bgr)[1].tobytes())
    np.testing.assert_array_equal(read_image(path), [[[255, 0, 128], [0, 64, 255]]])


def test_deep_grey_with_alpha(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">4H", 65535, 65535, 25700, 65535)  # filter byte, then two pixels
    path = tmp_path / "image.png"
    path.write_bytes(png(width=2, height=1, depth=16, kind=4, pixels=rows))
    np.testing.assert_array_equal(read_image(path), stacked(np.array([[255, 100]], dtype=np.uint8)))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 0.2, 0.4], [0, 51, 102]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([1000.0, 1500.0, 2000.0], [0, 128, 255]),
        ([float("nan"), 0.5, float("inf")], [128, 128, 128]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
    ],
)
def test_float_tiff(tmp_path: Path, samples: list[float], expected: list[int]) -> None:
    path = saved(tmp_path / "image.tif", np.array([samples], dtype=np.float32))
    np.testing.assert_array_equal(read_image(path), stacked(np.array([expected], dtype=np.uint8)))


def test_wide_integers(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.tif", np.array([[-5, 2**23, 2**24 - 1]], dtype=np.int32))
    np.testing.assert_array_equal(read_image(path), stacked(np.array([[0, 128, 255]], dtype=np.uint8)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    """The stored pixels are what each orientation makes of an upright picture; reading gives that back."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"image.{suffix}", np.ascontiguousarray(undo[orientation](RGB)), exif=exif)
    np.testing.assert_array_equal(read_image(path), RGB)


def test_exif_orientation_of_deep_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    stored = np.rot90(RGB, 1).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    path = tmp_path / "image.png"
    path.write_bytes(png(2, 3, 16, 2, rows, (b"eXIf", exif.tobytes()[6:])))
    np.testing.assert_array_equal(read_image(path), RGB)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_first_frame(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    path = tmp_path / f"image.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(path, save_all=True, append_images=[second], **options)
    np.testing.assert_array_equal(read_image(path), np.full((4, 4, 3), (255, 0, 0)))


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (8000, 2000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (1, 2, 3)).save(tmp_path / "image.png", compress_level=1)
    image = read_image(tmp_path / "image.png")
    assert image.shape == (size[1], size[0], 3)
    assert (image == (1, 2, 3)).all()


def test_name_does_not_decide_the_format(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.png", RGB)
    np.testing.assert_array_equal(read_image(path.rename(tmp_path / "image.jpg")), RGB)


# ---- what is not an image


def png(width: int, height: int, depth: int, kind: int, pixels: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file by hand, with a header of one's choice."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = [chunk(b"IHDR", header), *(chunk(*extra) for extra in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [*body, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("side", [12_300, 14_000, 60_000])
def test_decompression_bomb_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    assert side * side > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 0, bytes(1000)))
    with pytest.raises(RtvpError, match=r"bomb\.png: it has more than 150 megapixels"):
        read_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_converted_in_blocks_as_in_one(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(samples[..., 0].astype(np.uint16) * 200)
    else:
        picture = Image.fromarray(samples, "RGBA").convert("L" if mode == "1" else "RGBA").convert(mode)
    if mode == "P":
        picture.info["transparency"] = 7
    path = tmp_path / "a.tif"
    picture.save(path, **({"transparency": 7} if mode == "P" else {}))
    whole = read_image(path)
    monkeypatch.setattr("rtvp.data.images.BLOCK_PIXELS", 100)
    np.testing.assert_array_equal(read_image(path), whole)
    assert len(np.unique(whole)) > 1


def test_hundred_megapixels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(10_000, 10_000, 1, 0, bytes(10_000 * 1251)))
    assert read_image(path).shape == (10_000, 10_000, 3)


def test_errors_say_what_and_where(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.png").write_text("no image at all")
    whole = saved(tmp_path / "whole.png", np.zeros((50, 50, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    cases = {
        "gone.png": "no such file",
        ".": "it is a folder",
        "empty.png": "it is empty",
        "notes.png": "not an image of a known kind",
        "cut.png": "it is damaged",
        "x" * 300: "name too long",
    }
    for name, problem in cases.items():
        with pytest.raises(RtvpError) as caught:
            read_image(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"cannot read image {tmp_path / name}: ")
        assert problem in message
        assert "\n" not in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(RtvpError, match="no such file"):
        read_image(tmp_path / "pipe.png")


def valid_files() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (24, 17, 3), dtype=np.uint8)
    files = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind)
        files.append(buffer.getvalue())
    files.append(cv2.imencode(".png", noise.astype(np.uint16) * 257)[1].tobytes())
    files.append(cv2.imencode(".tif", noise.astype(np.uint16) * 257)[1].tobytes())
    return files


VALID_FILES = valid_files()


@settings(max_examples=200, deadline=None, database=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(VALID_FILES)))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 8))):
        if content:
            content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.img"
    path.write_bytes(content)
    try:
        image = read_image(path)
    except RtvpError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


@settings(max_examples=50, deadline=None, database=None)
@given(content=st.binary(max_size=300), magic=st.sampled_from([c[:12] for c in VALID_FILES]))
def test_random_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, magic: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.img"
    for beginning in (b"", magic):
        path.write_bytes(beginning + content)
        try:
            assert read_image(path).ndim == 3
        except RtvpError as error:
            assert str(path) in str(error)


# ---- pixels instead of files


def test_arrays_and_pictures(tmp_path: Path) -> None:
    np.testing.assert_array_equal(to_rgb(RGB), RGB)
    np.testing.assert_array_equal(to_rgb(RGB[:, ::-1]), RGB[:, ::-1])
    np.testing.assert_array_equal(to_rgb(GREY), stacked(GREY))
    np.testing.assert_array_equal(to_rgb(GREY[:, :, None]), stacked(GREY))
    np.testing.assert_array_equal(to_rgb(GREY > 100), stacked((GREY > 100) * np.uint8(255)))
    np.testing.assert_array_equal(to_rgb(RGB.astype(np.uint16) * 257), RGB)
    np.testing.assert_array_equal(to_rgb(RGB / np.float32(255)), RGB)
    np.testing.assert_array_equal(to_rgb(np.dstack([RGB, np.full((2, 3), 255, np.uint8)])), RGB)
    np.testing.assert_array_equal(to_rgb(Image.fromarray(RGB)), RGB)
    np.testing.assert_array_equal(to_rgb(str(saved(tmp_path / "image.png", RGB))), RGB)


def test_the_given_array_is_not_shared() -> None:
    original = RGB.copy()
    to_rgb(original)[:] = 0
    np.testing.assert_array_equal(original, RGB)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((0, 5, 3), np.uint8), r"got \[0, 5, 3\]"),
        (np.zeros((2, 2, 5), np.uint8), r"got \[2, 2, 5\]"),
        (np.zeros(4, np.uint8), r"got \[4\]"),
        (np.zeros((2, 2), np.complex64), "got complex64"),
        (np.full((2, 2), "a"), "got <U1"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, expected: str) -> None:
    with pytest.raises(RtvpError, match=expected):
        to_rgb(array)


def test_a_damaged_picture_is_refused() -> None:
    with pytest.raises(RtvpError, match="cannot read the given picture"):
        to_rgb(Image.open(io.BytesIO(VALID_FILES[0][:-200])))


# ---- letterbox


def test_batches_are_of_one_shape() -> None:
    wide, tall = np.zeros((3, 32, 64), np.uint8), np.zeros((3, 64, 32), np.uint8)
    batches: list[str] = []

    def run(names: list[str]) -> list[str]:
        batches.append("".join(names))
        return [name.upper() for name in names]

    images = {"a": wide, "b": tall, "c": wide, "d": tall, "e": tall}
    assert run_by_shape(list(images), images.__getitem__, run) == ["A", "B", "C", "D", "E"]
    assert batches == ["ac", "bde"]
    assert run_by_shape([], images.__getitem__, run) == []


def test_letterbox_places_at_the_top_left_and_pads() -> None:
    image = np.full((50, 100, 3), (10, 20, 30), dtype=np.uint8)
    pixels, placement = letterbox(image, 160)  # 226 x 113 px would be as many; 128 is the nearest multiple
    assert pixels.shape == (3, 128, 224)
    assert pixels.dtype == np.uint8
    assert (placement.width, placement.height, placement.scale) == (100, 50, 2.24)
    assert content_size(placement) == (224, 112)
    assert (pixels[:, :112] == np.array([10, 20, 30])[:, None, None]).all()
    assert (pixels[:, 112:] == PAD_VALUE).all()


def test_letterbox_leaves_a_fitting_picture_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    square, placement = letterbox(image, 32)
    np.testing.assert_array_equal(square.transpose(1, 2, 0), image)
    assert placement.scale == 1


def test_letterbox_averages_when_it_shrinks() -> None:
    """Every second column is white: stepping over columns would give black or white, averaging gives grey."""
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[:, ::2] = 255
    square, _ = letterbox(image, 32)
    assert np.abs(square - 127.5).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (40_000, 20)])
def test_letterbox_of_extreme_shapes(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 7, dtype=np.uint8)
    square, placement = letterbox(image, 64)
    width, height = content_size(placement)
    assert min(width, height) >= 1
    assert max(width, height) == (64 if shape == (1, 1) else 128)
    assert square.shape[1:] == (-(-height // 32) * 32, -(-width // 32) * 32)
    assert (square[:, :height, :width] == 7).all()


@settings(max_examples=60, deadline=None, database=None)
@given(
    width=st.integers(1, 5000), height=st.integers(1, 5000), size=st.sampled_from([64, 160, 320, 384, 640])
)
def test_the_input_has_the_pixels_of_a_square(width: int, height: int, size: int) -> None:
    pixels, placement = letterbox(np.zeros((height, width, 3), np.uint8), size)
    rows, columns = pixels.shape[1:]
    assert rows % 32 == columns % 32 == 0
    assert max(rows, columns) <= 2 * size
    if max(width, height) <= 4 * min(width, height):
        # Half a step at most is rounded away at each side.
        assert (math.sqrt(rows * columns) - size) <= 24
    shown_width, shown_height = content_size(placement)
    assert columns - 32 < shown_width <= columns and rows - 32 < shown_height <= rows
    if width == height:
        assert (rows, columns) == (size, size)


@settings(max_examples=30, deadline=None, database=None)
@given(
    width=st.integers(40, 400),
    height=st.integers(40, 400),
    size=st.sampled_from([64, 160, 320]),
    data=st.data(),
)
def test_a_box_survives_the_letterbox(width: int, height: int, size: int, data: st.DataObject) -> None:
    """A white rectangle, found again in the square and divided by the scale, is where it was."""
    x1 = data.draw(st.integers(0, width - 20))
    y1 = data.draw(st.integers(0, height - 20))
    x2, y2 = data.draw(st.integers(x1 + 20, width)), data.draw(st.integers(y1 + 20, height))
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[y1:y2, x1:x2] = 255
    square, placement = letterbox(image, size)
    content_width, content_height = content_size(placement)
    inside = square[0, :content_height, :content_width] / 255
    # Columns and rows by their share of white, so that a border half inside a pixel counts half.
    columns, rows = inside.max(axis=0), inside.max(axis=1)
    found = []
    for profile in (columns, rows):
        white = np.flatnonzero(profile > 0.5)
        found.append((int(white[0]) / placement.scale, (int(white[-1]) + 1) / placement.scale))
    tolerance = 1 + 1 / placement.scale
    assert abs(found[0][0] - x1) <= tolerance
    assert abs(found[0][1] - x2) <= tolerance
    assert abs(found[1][0] - y1) <= tolerance
    assert abs(found[1][1] - y2) <= tolerance


# ---- finding


def test_find_in_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "deep/er/c.tif", ".hidden.png", ".cache/d.png", "deep/e.bmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    everything = [tmp_path / name for name in ("a.png", "b.JPG", "deep/e.bmp", "deep/er/c.tif")]
    assert find_images([tmp_path]) == everything
    assert find_images([str(tmp_path), tmp_path / "deep" / ".." / "a.png"]) == everything
    assert find_images([str(tmp_path / "**" / "*")]) == everything
    assert find_images([str(tmp_path / "*.[pJ]*")]) == everything[:2]
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]  # named: taken at its word


def test_find_takes_a_name_with_brackets_literally(tmp_path: Path) -> None:
    (tmp_path / "part[1].png").touch()
    assert find_images([tmp_path / "part[1].png"]) == [tmp_path / "part[1].png"]


def test_find_skips_earlier_results(tmp_path: Path) -> None:
    for name in ("a.png", "out/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    out = tmp_path / "out"
    assert find_images([tmp_path], skip=out) == [tmp_path / "a.png"]
    assert find_images([out], skip=out) == [out / "a.png"]  # asked for by name
    assert find_images([tmp_path], skip=tmp_path) == [tmp_path / "a.png", out / "a.png"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [("gone.png", "no such file or folder"), ("*.png", "no image matches"), ("empty", "no images in folder")],
)
def test_find_nothing_is_an_error(tmp_path: Path, source: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "here.jpg").touch()
    with pytest.raises(RtvpError, match=problem):
        find_images([tmp_path / "here.jpg", tmp_path / source])


def test_an_empty_source_is_not_the_current_folder() -> None:
    with pytest.raises(RtvpError, match="no such file or folder"):
        find_images([""])
