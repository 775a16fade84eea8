"""The region stays sharp, the rest is blurred, and the detector sees just that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from figure_sets import SIZE, small_rtvp

from rtvp.errors import RtvpError
from rtvp.mmio.rle import encode_mask
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.reproduce import fgvp
from rtvp.reproduce.fgvp import FineGrainedPrompting, blur_outside, labelled_region, prompted_regions
from rtvp.types import Detections, Letterbox, Prompt


class Recorder:
    """A detector that finds nothing and keeps what it was shown."""

    name = "recorder"

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.prompts: list[Prompt] = []

    def detect(self, images: Sequence[np.ndarray], prompts: Sequence[Prompt]) -> list[Detections]:
        self.images += images
        self.prompts += prompts
        nothing = np.zeros(0, np.float32)
        return [Detections(nothing.reshape(0, 4), nothing, nothing.astype(np.int64)) for _ in images]


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)


@pytest.fixture
def region() -> np.ndarray:
    mask = np.zeros((300, 400), dtype=bool)
    mask[100:180, 50:120] = True
    return mask


def test_only_the_region_stays_sharp(noise: np.ndarray, region: np.ndarray) -> None:
    before = noise.copy()
    shown = blur_outside(noise, region)
    np.testing.assert_array_equal(noise, before)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[region], noise[region])
    assert shown[~region].std() < 0.05 * noise[~region].std()
    np.testing.assert_allclose(shown[~region].mean(axis=0), noise[~region].mean(axis=0), atol=3)


def test_the_blur_grows_with_the_picture(noise: np.ndarray) -> None:
    """An edge is as wide, as a share of the picture, whatever the picture's size."""
    widths = []
    for scale in (1, 4):
        step = np.zeros((64 * scale, 256 * scale, 3), dtype=np.uint8)
        step[:, 128 * scale :] = 255
        corner = np.zeros(step.shape[:2], dtype=bool)
        corner[0, 0] = True
        row = blur_outside(step, corner)[32 * scale, :, 0]
        widths.append(((row > 64) & (row < 191)).mean())
    assert widths[0] == pytest.approx(widths[1], abs=0.01)
    assert widths[0] > 0.15


def test_an_empty_region_points_at_nothing(noise: np.ndarray, region: np.ndarray) -> None:
    np.testing.assert_array_equal(blur_outside(noise, region & False), noise)


def test_a_region_of_another_size_is_refused(noise: np.ndarray) -> None:
    with pytest.raises(RtvpError, match=r"expected a mask of 300 x 400 px, got \[400, 300\]"):
        blur_outside(noise, np.ones((400, 300), dtype=bool))


def test_the_detector_sees_the_blurred_pictures(noise: np.ndarray, region: np.ndarray) -> None:
    inner = Recorder()
    prompted = FineGrainedPrompting(inner, lambda _: region)
    assert prompted.name == "recorder + FGVP"
    assert len(prompted.detect([noise, noise[::-1]], [Prompt("crack")])) == 2
    assert inner.prompts == [Prompt("crack")]
    np.testing.assert_array_equal(inner.images[0], blur_outside(noise, region))
    np.testing.assert_array_equal(inner.images[1], blur_outside(noise[::-1], region))


def test_labels_mark_masks_and_else_boxes() -> None:
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[2:5, 3:9] = 1
    annotations = (
        Annotation("hole", (3, 2, 9, 5), encode_mask(mask)),
        Annotation("dirt", (20.0, 10.0, 24.5, 12.0)),
    )
    marked = labelled_region(ImageRecord(Path("a.png"), 30, 20, annotations, "a"))
    expected = mask.astype(bool)
    expected[10:12, 20:25] = True
    np.testing.assert_array_equal(marked, expected)


def test_the_region_lies_where_the_score_is_high(monkeypatch: pytest.MonkeyPatch, noise: np.ndarray) -> None:
    """A blob in the score of the letterboxed input, whose lower quarter is padding."""
    score = torch.full((12, 12), 0.1)
    score[2:5, 6:10] = 0.6
    score[9:] = 1.0  # in the padding: must not decide anything
    placement = Letterbox(400, 300, SIZE / 400)
    monkeypatch.setattr(fgvp, "uncertainty", lambda *_: ((score, score[::2, ::2]), placement))
    found = prompted_regions(small_rtvp())(noise)
    assert (found.shape, found.dtype) == ((300, 400), np.bool_)
    assert found[100:140, 220:310].all()  # one cell is 33 px of the picture
    assert not found[:, :150].any()
    assert not found[:40].any()


def test_a_real_network_gives_regions(noise: np.ndarray) -> None:
    find = prompted_regions(small_rtvp())
    region = find(noise)
    assert region.shape == (300, 400)
    assert 0 < region.mean() < 1
    np.testing.assert_array_equal(region, find(noise))
