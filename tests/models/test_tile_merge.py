"""A perfect detector that sees tiles and the whole: after merging, each defect is there once and whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtvp.models.postprocess import pairwise_iou
from rtvp.models.tile_merge import merge_tiles
from rtvp.tiling import Tiling
from rtvp.types import Detections, Floats

WIDTH, HEIGHT, SIDE = 1000, 700, 300
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
Indices = NDArray[np.int64]


def windows(overlap: float = 0.25) -> Indices:
    return np.array(Tiling(SIDE, overlap).windows(WIDTH, HEIGHT, 64))


def seen_in(
    window: Indices, boxes: Floats, scores: Floats, labels: Indices, share: float = 0.2
) -> Detections:
    """What a perfect detector finds in a tile: every defect of which it shows enough, cut as it is."""
    low, high = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
    clipped, sides = np.hstack([low, high]).astype(np.float32), np.maximum(high - low, 0)
    enough = sides.prod(axis=1) >= share * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    much = (sides >= 0.3 * SIDE).any(axis=1)  # of a defect larger than the tile
    shown = enough & (sides > 2).all(axis=1) | much & (sides > 10).all(axis=1)
    order = np.argsort(-scores[shown])
    return Detections(clipped[shown][order], scores[shown][order], labels[shown][order])


def falling(first: float, last: float, count: int) -> Floats:
    return np.linspace(first, last, count, dtype=np.float32)


def merged(
    boxes: Floats, labels: Indices | None = None, whole: Detections = NOTHING, overlap: float = 0.25
) -> Detections:
    labels = np.zeros(len(boxes), np.int64) if labels is None else labels
    tiles, scores = windows(overlap), falling(0.9, 0.5, len(boxes))
    parts = [seen_in(tile, boxes, scores, labels) for tile in tiles]
    return merge_tiles(whole, parts, tiles, (HEIGHT, WIDTH))


def is_each_once(found: Detections, boxes: Floats) -> bool:
    if len(found.scores) != len(boxes):
        return False
    overlap = pairwise_iou(boxes, found.boxes_xyxy)
    return bool((overlap.max(axis=1) > 0.95).all() and (overlap.max(axis=0) > 0.95).all())


@st.composite
def apart(draw: st.DrawFn) -> Floats:
    """Small defects, a field of a grid each, so that none touch."""
    cells = draw(st.lists(st.integers(0, 10 * 7 - 1), min_size=1, max_size=20, unique=True))
    boxes = []
    for cell in cells:
        left, top = 100 * (cell % 10), 100 * (cell // 10)
        x, y = draw(st.integers(0, 39)), draw(st.integers(0, 39))
        boxes.append(
            [left + x, top + y, left + x + draw(st.integers(8, 60)), top + y + draw(st.integers(8, 60))]
        )
    return np.array(boxes, np.float32)


@settings(max_examples=80, deadline=None)
@given(apart())
def test_small_defects_are_there_once_wherever_the_borders_lie(boxes: Floats) -> None:
    assert is_each_once(merged(boxes), boxes)


@settings(max_examples=80, deadline=None)
@given(apart(), st.sampled_from([0.1, 0.25, 0.4]))
def test_the_whole_adds_no_second_box(boxes: Floats, overlap: float) -> None:
    count = len(boxes)
    whole = Detections(boxes, falling(0.95, 0.3, count), np.zeros(count, np.int64))
    assert is_each_once(merged(boxes, whole=whole, overlap=overlap), boxes)


@pytest.mark.parametrize(
    "box",
    [(50, 300, 950, 340), (480, 10, 520, 690), (100, 100, 900, 600), (0, 0, 1000, 30), (250, 250, 560, 420)],
)
def test_a_defect_larger_than_a_tile_is_joined(box: tuple[int, int, int, int]) -> None:
    boxes = np.array([box], np.float32)
    found = merged(boxes)
    assert is_each_once(found, boxes)
    assert found.scores.tolist() == pytest.approx([0.9])


def test_one_that_the_whole_shows_takes_the_pieces_in() -> None:
    boxes = np.array([[50, 300, 950, 340]], np.float32)
    whole = Detections(boxes + 4, np.array([0.6], np.float32), np.array([0]))
    found = merged(boxes, whole=whole)
    assert len(found.scores) == 1
    assert found.boxes_xyxy[0].tolist() == [54, 304, 954, 344]


def test_neighbours_are_not_joined() -> None:
    """A row of defects 4 px apart, many of them cut by borders."""
    boxes = np.array([[x, 340, x + 36, 376] for x in range(0, 960, 40)], np.float32)
    assert is_each_once(merged(boxes), boxes)


def test_names_stay_apart() -> None:
    boxes = np.array([[200, 200, 240, 240], [50, 300, 950, 340]], np.float32).repeat(2, axis=0)
    labels = np.array([0, 1, 0, 1])
    found = merged(boxes, labels)
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1]


def test_a_small_defect_inside_a_large_one_stays() -> None:
    boxes = np.array([[110, 310, 130, 330]], np.float32)
    large = np.array([[50, 300, 950, 340]], np.float32)
    whole = Detections(large, np.array([0.95], np.float32), np.array([0]))
    assert len(merged(boxes, whole=whole).scores) == 2


def test_scores_fall_and_are_limited() -> None:
    corners = [(x, y) for x in range(0, 990, 20) for y in range(0, 690, 20)]
    boxes = np.array([[x, y, x + 10, y + 10] for x, y in corners], np.float32)
    tiles = windows()
    scores = np.random.default_rng(0).random(len(boxes), np.float32)
    labels = np.zeros(len(boxes), np.int64)
    parts = [seen_in(tile, boxes, scores, labels) for tile in tiles]
    found = merge_tiles(NOTHING, parts, tiles, (HEIGHT, WIDTH))
    assert len(found.scores) == 300
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores[0] == scores.max()


def test_nothing_is_nothing() -> None:
    assert len(merge_tiles(NOTHING, [NOTHING] * len(windows()), windows(), (HEIGHT, WIDTH)).scores) == 0
