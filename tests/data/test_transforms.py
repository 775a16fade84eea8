"""The warp: pixels and boxes must move together, or a model learns boxes beside the defects."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtvp.data.images import fitting_scale
from rtvp.data.transforms import (
    MIN_SIDE,
    MIN_VISIBLE,
    PAD_VALUE,
    random_geometry,
    random_photometry,
    warp,
    warp_boxes,
)

# The eight symmetries of a square: identity, quarter turns, and each of them mirrored.
SYMMETRIES = [
    np.array(turn) @ np.diag([mirror, 1])
    for turn in ([[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]])
    for mirror in (1, -1)
]
IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float32)


def painted(height: int, width: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


def bounds(image: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Of what is at least half as bright as the paint; the padding (114) is not."""
    rows, columns = (np.flatnonzero((image[..., 0] > 127).any(axis=axis)) for axis in (1, 0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def random_box(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """At least a third of each side, and off the border."""
    w, h = int(rng.integers(width // 3, width - 4)), int(rng.integers(height // 3, height - 4))
    x, y = int(rng.integers(2, width - w - 1)), int(rng.integers(2, height - h - 1))
    return x, y, x + w, y + h


def symmetry_of(matrix: NDArray[np.float32]) -> int:
    linear = np.sign(np.round(matrix[:, :2] / np.abs(matrix[:, :2]).max(), 3))
    (index,) = (i for i, symmetry in enumerate(SYMMETRIES) if np.array_equal(symmetry, linear))
    return index


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(60, 500),
    st.integers(60, 500),
    st.sampled_from([64, 96, 160]),
    st.sampled_from([(0.3, 0.5), (0.7, 1.4), (2.0, 3.0)]),
)
def test_boxes_follow_the_pixels(
    seed: int, height: int, width: int, size: int, scale_range: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    box = random_box(rng, height, width)
    matrix = random_geometry(rng, height, width, size, scale_range)
    warped = warp(painted(height, width, box), np.array([box], np.float32), matrix, size)
    assert warped.image.shape == (size, size, 3)
    assert warped.image.dtype == np.uint8
    assert warped.boxes_xyxy.dtype == np.float32
    if len(warped.kept):
        # Up to half a pixel is the rounding of the bounds, and as much the blur where pictures shrink.
        assert np.abs(warped.boxes_xyxy[0] - bounds(warped.image)).max() <= 1.1


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("scale", [0.2, 0.45, 1.0, 2.5])
def test_every_symmetry_moves_boxes_and_pixels_alike(symmetry: NDArray[np.int64], scale: float) -> None:
    size, box = 96, (10, 22, 44, 34)
    linear = scale * symmetry
    centre = np.array([27.0, 28.0])  # of the box
    matrix = np.concatenate([linear, (size / 2 - linear @ centre)[:, None]], axis=1).astype(np.float32)
    warped = warp(painted(60, 90, box), np.array([box], np.float32), matrix, size)
    turned = symmetry[0, 0] == 0
    half = np.array([12, 34] if turned else [34, 12]) * scale / 2
    expected = np.clip([*(size / 2 - half), *(size / 2 + half)], 0, size)
    if min(expected[2:] - expected[:2]) >= MIN_SIDE:
        np.testing.assert_allclose(warped.boxes_xyxy[0], expected, atol=1e-3)
    assert np.abs(np.array(bounds(warped.image)) - expected).max() <= 1


def test_identity_changes_no_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(warp(image, np.zeros((0, 4), np.float32), IDENTITY, 64).image, image)


def test_all_symmetries_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(symmetry_of(random_geometry(rng, 50, 80, 64, (0.7, 1.4))) for _ in range(800))
    assert set(counts) == set(range(8))
    assert min(counts.values()) > 65 and max(counts.values()) < 135


def test_quarter_turns_are_as_rare_as_asked() -> None:
    def turned(share: float) -> float:
        """Share of the pictures that lie on their side: half of those that are turned."""
        rng = np.random.default_rng(0)
        matrices = [random_geometry(rng, 50, 80, 64, (0.7, 1.4), share) for _ in range(400)]
        return float(np.mean([matrix[0, 0] == 0 for matrix in matrices]))

    assert turned(0.0) == 0
    assert turned(0.3) == pytest.approx(0.15, abs=0.05)
    assert turned(1.0) == pytest.approx(0.5, abs=0.08)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 900), st.integers(20, 900))
def test_scale_and_place_are_in_range(seed: int, height: int, width: int) -> None:
    size = 96
    matrix = random_geometry(np.random.default_rng(seed), height, width, size, (0.7, 1.4)).astype(np.float64)
    relative = np.sqrt(abs(np.linalg.det(matrix[:, :2]))) / fitting_scale(width, height, size)
    assert 0.7 - 1e-4 <= relative <= 1.4 + 1e-4
    corners = matrix[:, :2] @ [[0, width, 0, width], [0, 0, height, height]] + matrix[:, 2:]
    low, high = corners.min(axis=1), corners.max(axis=1)
    for start, end in zip(low, high, strict=True):
        inside = start >= -1e-2 and end <= size + 1e-2
        covers = start <= 1e-2 and end >= size - 1e-2
        assert inside or covers


def test_outside_the_picture_is_padding() -> None:
    matrix = np.array([[0.5, 0, 8], [0, 0.5, 4]], np.float32)
    warped = warp(np.full((64, 64, 3), 9, np.uint8), np.zeros((0, 4), np.float32), matrix, 64).image
    assert (warped[5:35, 9:39] == 9).all()
    outside = np.ones((64, 64), bool)
    outside[3:37, 7:41] = False
    assert (warped[outside] == PAD_VALUE).all()


def test_fine_patterns_shrink_to_their_mean() -> None:
    """Nearest or plain bilinear sampling of a checkerboard would give black or white."""
    y, x = np.mgrid[:320, :320]
    board = (((x + y) % 2) * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    matrix = np.array([[0.15, 0, 8], [0, 0.15, 8]], np.float32)
    inner = warp(board, np.zeros((0, 4), np.float32), matrix, 64).image[12:52, 12:52]
    assert np.abs(inner.astype(int) - 127).max() < 25


def test_boxes_are_clipped_and_those_hardly_seen_are_dropped() -> None:
    boxes = np.array(
        [
            [10, 10, 30, 30],  # whole
            [-10, 10, 30, 30],  # three quarters
            [-30, 10, 10, 30],  # one quarter: dropped
            [90, 90, 120, 120],  # a ninth: dropped
            [200, 200, 220, 220],  # none
            [40, 40, 42.5, 60],  # whole but too thin
            [97, 10, 104, 30],  # three sevenths, 3 px wide
        ],
        np.float32,
    )
    moved, kept = warp_boxes(boxes, IDENTITY, 100)
    assert kept.tolist() == [0, 1, 6]
    assert moved.tolist() == [[10, 10, 30, 30], [0, 10, 30, 30], [97, 10, 100, 30]]


def test_the_limits_themselves_are_kept() -> None:
    side = 20.0
    just_visible = [-side * (1 - MIN_VISIBLE), 0, side * MIN_VISIBLE, side]
    boxes = np.array([just_visible, [40, 40, 40 + MIN_SIDE, 60]], np.float32)
    assert warp_boxes(boxes, IDENTITY, 100)[1].tolist() == [0, 1]
    smaller = boxes - np.array([[0.5, 0, 0.5, 0], [0, 0, 0.5, 0]], np.float32)
    assert warp_boxes(smaller, IDENTITY, 100)[1].tolist() == []


def test_no_boxes_stay_no_boxes() -> None:
    moved, kept = warp_boxes(np.zeros((0, 4), np.float32), IDENTITY, 64)
    assert moved.shape == (0, 4) and moved.dtype == np.float32
    assert kept.shape == (0,)


def test_photometry_keeps_the_shape_and_changes_values() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    before = image.copy()
    changed = [random_photometry(np.random.default_rng(seed), image) for seed in range(60)]
    assert np.array_equal(image, before)
    for picture in changed:
        assert picture.shape == image.shape and picture.dtype == np.uint8
        assert not np.array_equal(picture, image)
    grey = [np.ptp(picture.astype(int), axis=2).max() == 0 for picture in changed]
    assert 0 < sum(grey) < 30
    assert np.array_equal(changed[3], random_photometry(np.random.default_rng(3), image))


def test_photometry_keeps_what_is_brighter_brighter() -> None:
    """A ramp stays a ramp, within noise: contrast is never turned round."""
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(8, axis=0).repeat(3, axis=2)
    for seed in range(40):
        columns = random_photometry(np.random.default_rng(seed), ramp).mean(axis=(0, 2))
        assert columns[:64].mean() < columns[64:128].mean() < columns[128:192].mean()
