"""Masks from the picture alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.data.images import read_image
from rtvp.data.labelled import read_sources
from rtvp.predict.masks import View, Window, decode_mask, pixel_window
from rtvp.predict.surroundings import SurroundingsMasks, best_threshold, mask_of_box


def surface(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Rough grey, a little brighter to the right."""
    rng = np.random.default_rng(seed)
    grey = 110 + 20 * np.linspace(0, 1, width) + rng.normal(0, 6, (height, width))
    return np.repeat(grey[:, :, None], 3, axis=2).clip(0, 255).astype(np.uint8)


def with_blob(width: int, height: int, box: Window, colour: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """A rough ellipse that fills ``box``, and the mask of it."""
    image = surface(width, height)
    y, x = np.mgrid[:height, :width]
    across = (2 * x + 1 - box.left - box.right) / (box.right - box.left)
    down = (2 * y + 1 - box.top - box.bottom) / (box.bottom - box.top)
    mask = across**2 + down**2 <= 1
    image[mask] = (image[mask] * 0.3 + 0.7 * np.array(colour)).astype(np.uint8)
    return image, mask


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


# The second is scaled down before it is looked at; the third touches two borders; the fourth is thin.
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((120, 90), Window(40, 30, 80, 60)),
        ((1200, 900), Window(300, 200, 900, 700)),
        ((120, 90), Window(0, 0, 50, 40)),
        ((400, 90), Window(20, 40, 380, 46)),
    ],
)
def test_a_blob_is_found_better_than_by_its_box(size: tuple[int, int], box: Window) -> None:
    image, truth = with_blob(*size, box, (40, 30, 30))
    mask = np.zeros_like(truth)
    mask[box.slices] = mask_of_box(image, box)
    filled = np.zeros_like(truth)
    filled[box.slices] = True
    assert iou(mask, truth) > 0.9
    assert iou(filled, truth) < 0.81


def test_a_blob_off_the_middle_of_its_box_is_found_where_it_is() -> None:
    image, truth = with_blob(200, 150, Window(60, 50, 90, 80), (230, 200, 60))
    window = Window(55, 45, 120, 100)
    mask = mask_of_box(image, window)
    assert iou(mask, truth[window.slices]) > 0.75


def test_where_nothing_is_to_be_seen_the_middle_of_the_box_is_taken() -> None:
    mask = mask_of_box(np.full((60, 80, 3), 128, np.uint8), Window(20, 10, 60, 50))
    assert 0.5 < mask.mean() < 1
    assert mask[20, 20]
    np.testing.assert_array_equal(mask, mask[::-1, ::-1])


def test_a_mirrored_picture_has_the_mirrored_mask() -> None:
    image, _ = with_blob(120, 90, Window(40, 30, 80, 60), (40, 30, 30))
    mask = mask_of_box(image, Window(36, 28, 82, 62))
    mirrored = mask_of_box(np.ascontiguousarray(image[:, ::-1]), Window(38, 28, 84, 62))
    assert iou(mask, mirrored[:, ::-1]) > 0.97  # the samples of the surroundings are others


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_box_of_any_picture(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    x1, x2 = sorted(data.draw(st.floats(0, width)) for _ in range(2))
    y1, y2 = sorted(data.draw(st.floats(0, height)) for _ in range(2))
    image = surface(width, height)
    window = pixel_window((x1, y1, x2, y2), width, height)
    mask = mask_of_box(image, window)
    assert mask.shape == (window.bottom - window.top, window.right - window.left)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, mask_of_box(image, window))


def test_no_boxes_no_masks() -> None:
    assert list(SurroundingsMasks()(View(surface(9, 9), np.zeros((0, 4), np.float32)))) == []


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_the_threshold_is_the_best_of_all(odds: list[float]) -> None:
    values = np.array(odds)
    chances = 1 / (1 + np.exp(-values))

    def expected_iou(threshold: float) -> float:
        taken = values >= threshold
        return float(chances[taken].sum() / (taken.sum() + chances[~taken].sum()))

    assert expected_iou(best_threshold(values)) == pytest.approx(max(map(expected_iou, odds)))


@pytest.mark.slow
def test_real_defects_are_outlined_better_than_by_their_boxes() -> None:
    root = os.environ.get("RTVP_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs the folder of the public data sets: set RTVP_DATA")
    for labelled in read_sources(Path(root), ("kolektorsdd", "pill-mvtec", "tile-mvtec"), masks=True):
        ours, boxes = [], []
        for record in [each for each in labelled.images if each.annotations][:10]:
            image = read_image(record.path)
            for annotation in record.annotations:
                if annotation.mask is not None:
                    truth = decode_mask(annotation.mask, record.width, record.height)
                    window = pixel_window(annotation.box_xyxy, record.width, record.height)
                    ours.append(iou(mask_of_box(image, window), truth[window.slices]))
                    boxes.append(float(truth[window.slices].mean()))
        assert np.mean(ours) > np.mean(boxes) + 0.03, labelled.name
