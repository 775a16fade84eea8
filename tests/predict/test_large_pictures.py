"""Pictures too large for memory: found as in smaller ones, drawn smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtvp.data.images import drawn_size
from rtvp.data.raw_picture import RawPicture
from rtvp.predict import Detector, ImageProblem, detect_to_folder
from rtvp.types import Prompt

LARGE = 100_000  # pixels, of the test


@pytest.fixture
def few_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of more than a tenth of a megapixel count as large, and of two tenths are not decoded."""
    monkeypatch.setattr("rtvp.data.images.LARGE_PIXELS", LARGE)
    monkeypatch.setattr("rtvp.data.images.MAX_PIXELS", 2 * LARGE)


def save(path: Path, red_square: np.ndarray) -> Path:
    Image.fromarray(red_square).save(path)
    return path


@pytest.mark.parametrize("tile", [None, 128])
@pytest.mark.parametrize("name", ["a.bmp", "a.tif", "a.ppm"])
def test_found_as_in_a_decoded_one(
    colour_detector: Detector,
    red_square: np.ndarray,
    tmp_path: Path,
    name: str,
    tile: int | None,
    few_are_large: None,
) -> None:
    path = save(tmp_path / name, red_square)
    expected = colour_detector.detect(red_square, "red", tile=tile, explain=True, masks=True)
    result = colour_detector.detect(path, "red", tile=tile, explain=True, masks=True)
    assert (result.width, result.height) == (1024, 256)
    np.testing.assert_allclose(result.boxes_xyxy, expected.boxes_xyxy)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-4)
    assert result.tiles == expected.tiles
    assert result.masks is not None
    assert result.masks.sum() > 0


def test_nothing_is_decoded_whole(
    colour_detector: Detector,
    red_square: np.ndarray,
    tmp_path: Path,
    few_are_large: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = []
    read = RawPicture.__getitem__

    def counted(picture: RawPicture, window: tuple[slice, slice]) -> np.ndarray:
        part = read(picture, window)
        largest.append(part.shape[0] * part.shape[1])
        return part

    monkeypatch.setattr(RawPicture, "__getitem__", counted)
    monkeypatch.setattr("rtvp.data.raw_picture.BLOCK_PIXELS", 10_000)
    result = colour_detector.detect(save(tmp_path / "a.bmp", red_square), "red", tile=96)
    result.draw()
    assert max(largest) <= 10_000 + 2 * 1024
    assert result.image is None


def test_drawn_smaller_with_everything_in_its_place(
    colour_detector: Detector, red_square: np.ndarray, tmp_path: Path, few_are_large: None
) -> None:
    width, height = drawn_size(1024, 256)
    assert 0.95 * LARGE < width * height <= LARGE
    for name in ("a.bmp", "a.png"):  # neither stays at its size, and one of them is decoded
        if name == "a.png":
            red_square = red_square[:, :700]  # that it may be
        path = save(tmp_path / name, red_square)
        result = colour_detector.detect(path, "red", explain=True, masks=True)
        width, height = drawn_size(result.width, result.height)
        drawn, explained = result.draw(), result.draw_explanation()
        assert drawn.shape == explained.shape == (height, width, 3)
        scale = width / result.width
        middle = drawn[round(80 * scale), round(160 * scale)]
        assert middle[0] > 200 > 60 > middle[1]
        outside = drawn[round(200 * scale), round(300 * scale)]
        assert outside.max() < 10


def test_a_run_over_a_folder(
    colour_detector: Detector, red_square: np.ndarray, tmp_path: Path, few_are_large: None
) -> None:
    whole, cut = (save(tmp_path / name, red_square) for name in ("a.bmp", "cut.bmp"))
    cut.write_bytes(cut.read_bytes()[:-5000])
    packed = save(tmp_path / "a.png", red_square)
    told: list[object] = []
    summary = detect_to_folder(
        colour_detector, [whole, packed, cut], [Prompt("red")], tmp_path / "out", on_image=told.append
    )
    assert (summary.not_ok, summary.broken) == (1, 2)
    assert Image.open(tmp_path / "out" / "a.png").size == drawn_size(1024, 256)
    problems = [entry.message for entry in told if isinstance(entry, ImageProblem)]
    assert "part by part" in problems[0]
    assert problems[1].endswith("it is damaged (the file ends early)")
