from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtvp.losses.assigner import Assignment, TaskAlignedAssigner, inside_boxes
from rtvp.losses.boxes import pairwise_iou
from rtvp.models.contrastive_head import anchor_grid
from rtvp.types import Target

SIZE = 128


def make_grid(strides: tuple[int, ...] = (8, 16, 32)) -> tuple[Tensor, Tensor]:
    return anchor_grid([torch.empty(1, 1, SIZE // s, SIZE // s) for s in strides], strides)


def make_target(boxes: list[list[float]], names: int = 1) -> Target:
    return Target(torch.tensor(boxes).reshape(-1, 4), torch.ones(len(boxes), names, dtype=torch.bool))


def boxes_around(points: Tensor, strides: Tensor, sides: float = 4.0) -> Tensor:
    """Squares of ``sides`` strides around each cell: what a fresh head predicts."""
    half = strides[:, None] * sides / 2
    return torch.cat([points - half, points + half], dim=1)


def test_example_by_hand() -> None:
    """Four cells of 8 px in a row; the first two lie in the box.

    Alignment of cell 0: 0.25^0.5 * 1^6 = 1/2; of cell 1: 1^0.5 * 0.5^6 = 1/64.
    Quality: alignment / 0.5 * the best IoU, 1.
    """
    points = torch.tensor([[4.0, 4], [12, 4], [20, 4], [28, 4]])
    boxes = torch.tensor([[0.0, 0, 16, 8], [0, 0, 8, 8], [0, 0, 16, 8], [0, 0, 16, 8]])
    scores = torch.tensor([[0.25], [1.0], [1.0], [1.0]])
    target = make_target([[0, 0, 16, 8]])
    both = TaskAlignedAssigner()(scores, boxes, points, torch.full((4,), 8.0), target)
    assert both.box.tolist() == [0, 0, -1, -1]
    torch.testing.assert_close(both.quality, torch.tensor([1, 1 / 32, 0, 0]))
    best = TaskAlignedAssigner(top_k=1)(scores, boxes, points, torch.full((4,), 8.0), target)
    assert best.box.tolist() == [0, -1, -1, -1]
    localised = TaskAlignedAssigner(top_k=1, alpha=1.0, beta=0.5)(
        scores, boxes, points, torch.full((4,), 8.0), target
    )
    assert localised.box.tolist() == [-1, 0, -1, -1]  # 1/4 against 0.5^0.5


def test_only_the_scores_of_a_boxs_own_names_count() -> None:
    points = torch.tensor([[4.0, 4], [12, 4]])
    boxes = torch.tensor([[0.0, 0, 16, 8]] * 2)
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.2, 0.3]])
    for names, cell in (([True, False, False], 0), ([False, True, False], 1), ([True, False, True], 0)):
        target = Target(torch.tensor([[0.0, 0, 16, 8]]), torch.tensor([names]))
        assigned = TaskAlignedAssigner(top_k=1)(scores, boxes, points, torch.full((2,), 8.0), target)
        assert (assigned.box >= 0).nonzero().flatten().tolist() == [cell]


def test_a_cell_wanted_by_two_boxes_goes_to_the_one_it_overlaps_most() -> None:
    """However badly it scores that one's name."""
    points, strides = make_grid((16,))
    target = Target(torch.tensor([[0.0, 0, 128, 128], [32, 32, 64, 64]]), torch.eye(2, dtype=torch.bool))
    predicted = boxes_around(points, strides, sides=2)
    scores = torch.tensor([1.0, 1e-12]).repeat(len(points), 1)
    assigned = TaskAlignedAssigner(top_k=100)(scores, predicted, points, strides, target)
    overlap = pairwise_iou(target.boxes_xyxy, predicted)
    in_both = inside_boxes(points, target.boxes_xyxy).all(dim=0)
    assert in_both.sum() == 4
    assert (overlap[1, in_both] > overlap[0, in_both]).all()
    assert (assigned.box[in_both] == 1).all()
    assert (assigned.box[~in_both] == 0).all()


def assign_fresh(target: Target, scores: float = 0.01) -> tuple[Assignment, Tensor, Tensor]:
    points, strides = make_grid()
    names = target.positives.shape[1]
    assigned = TaskAlignedAssigner()(
        torch.full((len(points), names), scores), boxes_around(points, strides), points, strides, target
    )
    return assigned, points, strides


@settings(deadline=None)
@given(
    x=st.floats(0, SIZE - 2),
    y=st.floats(0, SIZE - 2),
    width=st.floats(2, SIZE),
    height=st.floats(2, SIZE),
)
def test_every_box_alone_has_cells_and_none_outside(x: float, y: float, width: float, height: float) -> None:
    """Down to 2 px a side, where no cell centre may lie in the box."""
    target = make_target([[x, y, min(SIZE, x + width), min(SIZE, y + height)]])
    assigned, points, strides = assign_fresh(target)
    owned = assigned.box == 0
    assert 1 <= owned.sum() <= 10
    assert inside_boxes(points, target.boxes_xyxy, min_side=float(strides.min()))[0, owned].all()
    assert (assigned.quality[owned] > 0).all()
    assert (assigned.quality[~owned] == 0).all()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30), names=st.integers(1, 5))
def test_promises_over_random_predictions(seed: int, count: int, names: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points, strides = make_grid()

    def draw(number: int) -> Tensor:
        corner = torch.rand(number, 2, generator=generator) * 100
        return torch.cat([corner, corner + torch.rand(number, 2, generator=generator) * 60], dim=1)

    positives = torch.rand(count, names, generator=generator) < 0.5
    target = Target(draw(count), positives)
    scores = torch.rand(len(points), names, generator=generator)
    predicted = draw(len(points))
    assigned = TaskAlignedAssigner()(scores, predicted, points, strides, target)
    assert assigned.box.shape == assigned.quality.shape == (len(points),)
    assert assigned.box.dtype == torch.int64
    owned = assigned.box >= 0
    owner = assigned.box[owned]
    assert assigned.quality.isfinite().all()
    assert ((assigned.quality >= 0) & (assigned.quality <= 1)).all()
    assert (assigned.quality[~owned] == 0).all()
    assert owner.numel() == 0 or owner.bincount().max() <= 10
    inside = inside_boxes(points, target.boxes_xyxy, min_side=8.0)
    assert inside[owner, owned.nonzero().flatten()].all()
    # The best cell of a box has the IoU of its best cell as quality; a box without a name has no cell.
    overlap = pairwise_iou(target.boxes_xyxy, predicted)
    for box in owner.unique():
        cells = assigned.box == box
        torch.testing.assert_close(assigned.quality[cells].max(), overlap[box, cells].max())
        assert positives[box].any()


def test_a_perfect_prediction_has_quality_near_1() -> None:
    points, strides = make_grid()
    target = make_target([[10, 20, 50, 70], [60, 60, 62, 62], [90, 5, 120, 40]])
    near = inside_boxes(points, target.boxes_xyxy, min_side=8.0).float()
    predicted = target.boxes_xyxy[near.argmax(dim=0)]
    scores = near.amax(dim=0)[:, None] * 0.98 + 0.01
    assigned = TaskAlignedAssigner()(scores, predicted, points, strides, target)
    assert set(assigned.box.tolist()) == {-1, 0, 1, 2}
    torch.testing.assert_close(
        assigned.quality[assigned.box >= 0], torch.ones(int((assigned.box >= 0).sum())), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("names", [0, 2])
def test_nothing_to_assign(names: int) -> None:
    for target in (make_target([], names), make_target([[0, 0, 64, 64]], 0)):
        assigned, points, _ = assign_fresh(target)
        assert assigned.box.tolist() == [-1] * len(points)
        assert assigned.quality.tolist() == [0] * len(points)


def test_inside_boxes_by_hand() -> None:
    points = torch.tensor([[4.0, 4], [12, 4], [4, 12]])
    boxes = torch.tensor([[0.0, 0, 12, 8], [9, 1, 10, 2]])
    assert inside_boxes(points, boxes).tolist() == [[True, True, False], [False, False, False]]
    assert inside_boxes(points, boxes, min_side=8).tolist() == [[True, True, False], [False, True, False]]
