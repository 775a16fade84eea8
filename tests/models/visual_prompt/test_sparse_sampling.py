from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtvp.models.visual_prompt.sparse_sampling import sparse_sampling_mask

EXAMPLE = torch.tensor(
    [
        [0.1, 0.9, 0.1, 0.1, 0.4],
        [0.2, 0.8, 0.1, 0.9, 0.6],
        [0.4, 0.6, 0.3, 0.3, 0.2],
        [0.5, 0.5, 0.3, 0.3, 0.2],
        [0.7, 0.3, 0.5, 0.6, 0.9],
    ]
)[None, None]


def test_example_by_hand() -> None:
    """Patches of 2 x 2 cells, at most two a patch; the last row and column are half or quarter patches."""
    mask = sparse_sampling_mask(EXAMPLE, patch=2, keep=0.5)
    assert mask[0, 0].int().tolist() == [
        [0, 1, 0, 0, 0],  # means 0.5, 0.3, 0.5 (of the two real cells)
        [0, 1, 0, 1, 1],
        [0, 1, 0, 0, 0],  # means 0.5, 0.3, 0.2: a cell at the mean does not stand out
        [0, 0, 0, 0, 0],
        [1, 0, 0, 1, 0],  # a cell alone is its own mean
    ]


def test_second_round_by_hand() -> None:
    mask = sparse_sampling_mask(EXAMPLE, patch=2, keep=0.5, rounds=2)
    assert mask[0, 0].int().tolist() == [
        [0, 1, 0, 0, 0],  # of 0.1, 0.2: 0.2
        [1, 1, 0, 1, 1],
        [0, 1, 0, 0, 0],  # of 0.4, 0.5, 0.5: the latter two
        [1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0],
    ]


def naive_mask(scores: Tensor, patch: int, keep: float, rounds: int) -> Tensor:
    """Eq. 6 with loops, for scores that all differ."""
    mask = torch.zeros_like(scores)
    height, width = scores.shape
    for top in range(0, height, patch):
        for left in range(0, width, patch):
            cells = [
                (y, x)
                for y in range(top, min(top + patch, height))
                for x in range(left, min(left + patch, width))
            ]
            for _ in range(rounds):
                free = [(float(scores[cell]), cell) for cell in cells if not mask[cell]]
                mean = sum(score for score, _ in free) / max(1, len(free))
                for score, cell in sorted(free, reverse=True)[: max(1, round(keep * patch * patch))]:
                    if score > mean:
                        mask[cell] = 1
    return mask


cases = {
    "height": st.integers(1, 12),
    "width": st.integers(1, 12),
    "patch": st.integers(2, 5),
    "keep": st.floats(0.01, 1),
    "seed": st.integers(0, 10_000),
}


@settings(deadline=None, max_examples=60)
@given(**cases, rounds=st.integers(1, 3))
def test_parity_with_loops(height: int, width: int, patch: int, keep: float, seed: int, rounds: int) -> None:
    # A convex row of distinct scores: no cell lies within rounding of a mean.
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed)).view(height, width)
    scores = ((order + 1) / (height * width + 1)) ** 1.7
    mask = sparse_sampling_mask(scores[None, None], patch, keep, rounds)
    assert torch.equal(mask[0, 0], naive_mask(scores.double(), patch, keep, rounds).float())


@settings(deadline=None, max_examples=60)
@given(**cases)
def test_rounds_only_add_and_ties_never_add_more_than_k(
    height: int, width: int, patch: int, keep: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (2, 1, height, width), generator=generator) / 4  # many ties
    masks = [sparse_sampling_mask(scores, patch, keep, rounds) for rounds in (1, 2, 3)]
    assert all(((later - earlier) >= 0).all() for earlier, later in pairwise(masks))
    limit = max(1, round(keep * patch * patch))
    for top in range(0, height, patch):
        for left in range(0, width, patch):
            cells = (..., slice(top, top + patch), slice(left, left + patch))
            for patch_scores, kept in zip(scores[cells], masks[0][cells], strict=True):
                assert kept.sum() <= limit
                assert (patch_scores[kept > 0] > patch_scores.mean()).all()


@settings(deadline=None)
@given(
    value=st.floats(0, 1, width=32),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    patch=st.integers(2, 8),
    rounds=st.integers(1, 2),
)
def test_equal_scores_keep_nothing(value: float, height: int, width: int, patch: int, rounds: int) -> None:
    """Even where the mean of equal numbers is rounded to below them."""
    assert not sparse_sampling_mask(torch.full((1, 1, height, width), value), patch, 0.25, rounds).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mask_has_the_type_of_the_scores_and_no_gradient(dtype: torch.dtype) -> None:
    scores = torch.rand(2, 1, 6, 6).to(dtype).requires_grad_()
    mask = sparse_sampling_mask(scores, 3, 0.25)
    assert mask.dtype == dtype
    assert not mask.requires_grad
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_images_and_patches_do_not_influence_each_other() -> None:
    torch.manual_seed(0)
    scores = torch.rand(3, 1, 8, 8)
    mask = sparse_sampling_mask(scores, 4, 0.25)
    assert torch.equal(mask[1:2], sparse_sampling_mask(scores[1:2], 4, 0.25))
    changed = scores.clone()
    changed[:, :, :4, :4] = torch.rand(3, 1, 4, 4)
    other = sparse_sampling_mask(changed, 4, 0.25)
    assert torch.equal(mask[:, :, 4:], other[:, :, 4:])
    assert torch.equal(mask[:, :, :4, 4:], other[:, :, :4, 4:])
