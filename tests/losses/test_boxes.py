from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtvp.losses.boxes import area, complete_iou, iou, pairwise_iou


def boxes(*values: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


coordinate = st.floats(-500, 500, width=32)
box = st.tuples(coordinate, coordinate, st.floats(0, 500, width=32), st.floats(0, 500, width=32)).map(
    lambda b: torch.tensor([b[0], b[1], b[0] + b[2], b[1] + b[3]], dtype=torch.float32)
)


def test_area_and_iou_by_hand() -> None:
    first = boxes((0, 0, 4, 2), (0, 0, 4, 4), (0, 0, 2, 2), (0, 0, 2, 2))
    second = boxes((2, 0, 6, 2), (1, 1, 3, 3), (2, 0, 4, 2), (0, 0, 2, 2))
    assert area(first).tolist() == [8, 16, 4, 4]
    torch.testing.assert_close(iou(first, second), torch.tensor([4 / 12, 4 / 16, 0, 1]))


def test_pairwise_is_every_pair() -> None:
    first, second = boxes((0, 0, 4, 2), (1, 1, 3, 3)), boxes((0, 0, 4, 2), (2, 0, 6, 2), (9, 9, 10, 10))
    table = pairwise_iou(first, second)
    assert table.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert table[i, j] == iou(first[i], second[j])
    assert pairwise_iou(first, second[:0]).shape == (2, 0)


def test_complete_iou_by_hand() -> None:
    """Two 4 x 2 boxes, 2 apart, enclosed by 6 x 2: no aspect term. Then a wide box crossing a tall one."""
    shifted = complete_iou(boxes((0, 0, 4, 2)), boxes((2, 0, 6, 2)))
    torch.testing.assert_close(shifted, torch.tensor([4 / 12 - 4 / 40]))
    crossed = complete_iou(boxes((0, 1, 4, 3)), boxes((1, 0, 3, 4)))
    overlap = 4 / 12
    aspect = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    torch.testing.assert_close(crossed, torch.tensor([overlap - aspect**2 / (1 - overlap + aspect)]))


@settings(deadline=None)
@given(first=box, second=box)
def test_ranges_and_symmetry(first: Tensor, second: Tensor) -> None:
    overlap, complete = iou(first, second), complete_iou(first, second)
    assert 0 <= overlap <= 1
    assert -1.5 < complete <= overlap + 1e-6
    torch.testing.assert_close(iou(second, first), overlap)
    torch.testing.assert_close(complete_iou(second, first), complete, rtol=1e-4, atol=1e-4)
    if overlap == 0 and not torch.equal(first, second):
        assert complete <= 0


@pytest.mark.parametrize("side", [1.0, 2.0, 100.0, 4000.0])
def test_equal_boxes_reach_1_and_disjoint_ones_are_negative(side: float) -> None:
    square = boxes((10, 10, 10 + side, 10 + side))
    torch.testing.assert_close(complete_iou(square, square), torch.ones(1))
    torch.testing.assert_close(iou(square, square), torch.ones(1))
    near, far = square + side * 2, square + side * 20
    assert complete_iou(square, far) < complete_iou(square, near) < 0
    assert iou(square, near) == 0


@pytest.mark.parametrize(
    "predicted",
    [
        (5.0, 5, 5, 5),
        (5.0, 5, 9, 5),
        (5.0, 5, 5, 9),
        (0.0, 0, 8, 8),
        (100.0, 100, 101, 101),
        (0.0, 0, 1e4, 1e4),
    ],
)
@pytest.mark.parametrize("wanted", [(0.0, 0, 8, 8), (5.0, 5, 5, 5)])
def test_gradient_is_finite_for_degenerate_boxes(
    predicted: tuple[float, ...], wanted: tuple[float, ...]
) -> None:
    first = torch.tensor(predicted, requires_grad=True)
    complete_iou(first, torch.tensor(wanted)).backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_following_the_gradient_finds_the_box() -> None:
    """Even from a place where the boxes do not overlap."""
    found = torch.tensor([40.0, 40, 60, 50], requires_grad=True)
    wanted = torch.tensor([10.0, 12, 22, 30])
    optimizer = torch.optim.Adam([found], lr=1.0)
    for _ in range(150):
        optimizer.zero_grad()
        (1 - complete_iou(found, wanted)).backward()
        optimizer.step()
    assert iou(found, wanted) > 0.9
