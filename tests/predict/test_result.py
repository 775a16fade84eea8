"""What a result tells and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rtvp.data.images import read_image
from rtvp.errors import RtvpError
from rtvp.predict import Detector


def test_save_draws_over_the_picture(colour_detector: Detector, folder: Path, tmp_path: Path) -> None:
    result = colour_detector.detect(folder / "a" / "one.png", ["red"])
    result.save(tmp_path / "out" / "one.png")
    image = read_image(tmp_path / "out" / "one.png")
    np.testing.assert_array_equal(image, result.draw())
    assert image.shape == (256, 1024, 3)
    assert tuple(image[96, 160]) == (255, 0, 0)  # the defect is not painted over
    assert not (image == read_image(folder / "a" / "one.png")).all()


def test_save_works_on_pixels(colour_detector: Detector, red_square: np.ndarray, tmp_path: Path) -> None:
    colour_detector.detect(red_square, "red").save(str(tmp_path / "one.jpg"))
    assert read_image(tmp_path / "one.jpg").shape == (256, 1024, 3)


def test_save_after_the_image_is_gone(colour_detector: Detector, folder: Path, tmp_path: Path) -> None:
    result = colour_detector.detect(folder / "a" / "one.png", ["red"])
    (folder / "a" / "one.png").unlink()
    with pytest.raises(RtvpError, match="no such file"):
        result.save(tmp_path / "one.png")
    assert not (tmp_path / "one.png").exists()


def test_explanation(colour_detector: Detector, red_square: np.ndarray) -> None:
    result = colour_detector.detect(red_square, "red")
    with pytest.raises(RtvpError, match="explain=True"):
        result.draw_explanation()
    painted = colour_detector.detect(red_square, "red", explain=True).draw_explanation()
    assert (painted[220:] == 0).all()
    assert painted[96, 160, 1] > 100  # the hot end of the colour map over the red of the defect


def test_dictionary_is_plain_json(colour_detector: Detector, folder: Path) -> None:
    path = folder / "a" / "one.png"
    result = colour_detector.detect(path, ["red", "green"])
    content = json.loads(json.dumps(result.to_dict()))
    score = pytest.approx(0.999643, abs=1e-6)
    assert content == {
        "image": path.as_posix(),
        "width": 1024,
        "height": 256,
        "verdict": "NOT OK",
        "verdict_score": score,
        "detections": [{"box_xyxy": [128, 64, 192, 128], "label": "red", "score": score}],
    }
