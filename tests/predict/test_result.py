"""What a result tells and writes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
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
        "presence": {"red": score, "green": pytest.approx(1 / (1 + np.exp(8)), abs=1e-6)},
        "detections": [{"box_xyxy": [128, 64, 192, 128], "label": "red", "score": score}],
    }


# ---- masks


def test_masks_lie_in_their_boxes_and_follow_the_threshold(
    colour_detector: Detector, red_square: np.ndarray
) -> None:
    result = colour_detector.detect(red_square, ["red", "green"], threshold=0, masks=True)
    masks = result.masks
    assert masks is not None
    assert masks.shape == (len(result.scores), 256, 1024)
    assert masks.dtype == np.bool_
    for index, (x1, y1, x2, y2) in enumerate(result.boxes_xyxy.astype(int)):
        assert masks[index, y1:y2, x1:x2].any()
        assert masks[index].sum() == masks[index, y1:y2, x1:x2].sum()
        np.testing.assert_array_equal(result.mask(index), masks[index])
    best = result.above(0.5)
    assert best.masks is not None
    np.testing.assert_array_equal(best.masks, masks[:1])


def test_nothing_found_has_no_masks(colour_detector: Detector, red_square: np.ndarray) -> None:
    result = colour_detector.detect(red_square // 2, "red", masks=True)
    assert result.masks is not None
    assert result.masks.shape == (0, 256, 1024)
    assert result.to_dict()["detections"] == []
    assert result.draw().shape == (256, 1024, 3)


def test_masks_that_were_not_asked_for(colour_detector: Detector, red_square: np.ndarray) -> None:
    result = colour_detector.detect(red_square, "red")
    assert result.masks is None
    for ask in (result.mask, result.segmentation):
        with pytest.raises(RtvpError, match="masks=True"):
            ask(0)


def test_segmentations_are_coco_run_lengths(colour_detector: Detector, red_square: np.ndarray) -> None:
    coco_mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    result = colour_detector.detect(red_square, "red", masks=True)
    (detection,) = json.loads(json.dumps(result.to_dict()))["detections"]
    decoded = coco_mask.decode(detection["segmentation"])
    np.testing.assert_array_equal(decoded.astype(bool), result.mask(0))


def test_outlines_are_drawn(colour_detector: Detector, red_square: np.ndarray) -> None:
    image = cv2.circle(np.zeros_like(red_square), (160, 96), 31, (0, 255, 0), -1)
    plain = colour_detector.detect(image, "red, green").draw()
    outlined = colour_detector.detect(image, "red, green", masks=True)
    changed = (outlined.draw() != plain).any(axis=2)
    assert changed.any()
    # Along the mask's edge, and nowhere else.
    mask = outlined.mask(0).astype(np.uint8)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)) > 0
    assert not (changed & ~edge).any()


def test_a_tiled_search_has_masks(colour_detector: Detector) -> None:
    image = np.zeros((600, 2048, 3), np.uint8)
    image[64:128, 128:192, 0] = 255
    result = colour_detector.detect(image, "red", tile=256, masks=True)
    assert result.masks is not None
    assert len(result.masks) == len(result.scores) > 0
    assert all(mask[64:128, 128:192].any() for mask in result.masks)
