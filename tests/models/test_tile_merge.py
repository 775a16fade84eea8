"""A perfect detector that sees tiles and the whole: after merging, each defect is there once and whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtvp.losses.boxes import pairwise_iou
from rtvp.models.tile_merge import merge_tiles
from rtvp.tiling import Tiling
from rtvp.types import Detections

WIDTH, HEIGHT, SIDE = 1000, 700, 300
NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def windows(overlap: float = 0.25) -> Tensor:
    return torch.tensor(Tiling(SIDE, overlap).windows(WIDTH, HEIGHT, 64))


def seen_in(window: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, share: float = 0.2) -> Detections:
    """What a perfect detector finds in a tile: every defect of which it shows enough, cut as it is."""
    clipped = torch.cat(
        [torch.maximum(boxes[:, :2], window[:2]), torch.minimum(boxes[:, 2:], window[2:])], dim=1
    )
    sides = (clipped[:, 2:] - clipped[:, :2]).clamp(min=0)
    shown = (sides.prod(dim=1) >= share * (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)) & (sides > 2).all(dim=1)
    shown |= (sides >= 0.3 * SIDE).any(dim=1) & (sides > 10).all(
        dim=1
    )  # much of a defect larger than the tile
    order = scores[shown].argsort(descending=True)
    return Detections(clipped[shown][order], scores[shown][order], labels[shown][order])


def merged(
    boxes: Tensor, labels: Tensor | None = None, whole: Detections = NOTHING, overlap: float = 0.25
) -> Detections:
    boxes = boxes.float()
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels
    tiles = windows(overlap)
    scores = torch.linspace(0.9, 0.5, len(boxes))
    parts = [seen_in(tile.float(), boxes, scores, labels) for tile in tiles]
    return merge_tiles(whole, parts, tiles, (HEIGHT, WIDTH))


def is_each_once(found: Detections, boxes: Tensor) -> bool:
    if len(found.scores) != len(boxes):
        return False
    overlap = pairwise_iou(boxes.float(), found.boxes_xyxy)
    return bool((overlap.amax(dim=1) > 0.95).all() and (overlap.amax(dim=0) > 0.95).all())


@st.composite
def apart(draw: st.DrawFn) -> Tensor:
    """Small defects, a field of a grid each, so that none touch."""
    cells = draw(st.lists(st.integers(0, 10 * 7 - 1), min_size=1, max_size=20, unique=True))
    boxes = []
    for cell in cells:
        left, top = 100 * (cell % 10), 100 * (cell // 10)
        x, y = draw(st.integers(0, 39)), draw(st.integers(0, 39))
        boxes.append(
            [left + x, top + y, left + x + draw(st.integers(8, 60)), top + y + draw(st.integers(8, 60))]
        )
    return torch.tensor(boxes)


@settings(max_examples=80, deadline=None)
@given(apart())
def test_small_defects_are_there_once_wherever_the_borders_lie(boxes: Tensor) -> None:
    assert is_each_once(merged(boxes), boxes)


@settings(max_examples=80, deadline=None)
@given(apart(), st.sampled_from([0.1, 0.25, 0.4]))
def test_the_whole_adds_no_second_box(boxes: Tensor, overlap: float) -> None:
    count = len(boxes)
    whole = Detections(boxes.float(), torch.linspace(0.95, 0.3, count), torch.zeros(count, dtype=torch.int64))
    assert is_each_once(merged(boxes, whole=whole, overlap=overlap), boxes)


@pytest.mark.parametrize(
    "box",
    [(50, 300, 950, 340), (480, 10, 520, 690), (100, 100, 900, 600), (0, 0, 1000, 30), (250, 250, 560, 420)],
)
def test_a_defect_larger_than_a_tile_is_joined(box: tuple[int, int, int, int]) -> None:
    boxes = torch.tensor([box])
    found = merged(boxes)
    assert is_each_once(found, boxes)
    assert found.scores.tolist() == pytest.approx([0.9])


def test_one_that_the_whole_shows_takes_the_pieces_in() -> None:
    boxes = torch.tensor([[50, 300, 950, 340]])
    whole = Detections(boxes.float() + 4, torch.tensor([0.6]), torch.tensor([0]))
    found = merged(boxes, whole=whole)
    assert len(found.scores) == 1
    assert found.boxes_xyxy[0].tolist() == [54, 304, 954, 344]


def test_neighbours_are_not_joined() -> None:
    """A row of defects 4 px apart, many of them cut by borders."""
    boxes = torch.tensor([[x, 340, x + 36, 376] for x in range(0, 960, 40)])
    assert is_each_once(merged(boxes), boxes)


def test_names_stay_apart() -> None:
    boxes = torch.tensor(
        [[200, 200, 240, 240], [200, 200, 240, 240], [50, 300, 950, 340], [50, 300, 950, 340]]
    )
    labels = torch.tensor([0, 1, 0, 1])
    found = merged(boxes, labels)
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1]


def test_a_small_defect_inside_a_large_one_stays() -> None:
    boxes = torch.tensor([[110, 310, 130, 330]])
    whole = Detections(torch.tensor([[50.0, 300, 950, 340]]), torch.tensor([0.95]), torch.tensor([0]))
    assert len(merged(boxes, whole=whole).scores) == 2


def test_scores_fall_and_are_limited() -> None:
    boxes = torch.tensor([[x, y, x + 10, y + 10] for x in range(0, 990, 20) for y in range(0, 690, 20)])
    tiles = windows()
    scores = torch.rand(len(boxes), generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    parts = [seen_in(tile.float(), boxes.float(), scores, labels) for tile in tiles]
    found = merge_tiles(NOTHING, parts, tiles, (HEIGHT, WIDTH))
    assert len(found.scores) == 300
    assert (found.scores.diff() <= 0).all()
    assert found.scores[0] == scores.max()


def test_nothing_is_nothing() -> None:
    assert len(merge_tiles(NOTHING, [NOTHING] * len(windows()), windows(), (HEIGHT, WIDTH)).scores) == 0
