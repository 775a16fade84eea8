from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rtvp.models.visual_prompt.refiner import VisualPromptRefiner
from rtvp.models.visual_prompt.sparse_sampling import sparse_sampling_mask


class GivenScores(nn.Module):
    """A scorer that leaves the feature alone and gives the scores it was made with."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        return coarse * 1, self.scores


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_one_prompt_score_and_mask_a_level(height: int, width: int) -> None:
    torch.manual_seed(0)
    strides = (4, 8, 16, 32)
    coarse = [torch.randn(2, 6, height // s, width // s) for s in strides]
    refined = VisualPromptRefiner(strides, 6, patch_size=32, keep=0.25, rounds=1)(coarse)
    for i, feature in enumerate(coarse):
        assert refined.prompts[i].shape == feature.shape
        assert refined.scores[i].shape == refined.masks[i].shape == (2, 1, *feature.shape[2:])


@pytest.mark.parametrize(
    ("patch_size", "patches"), [(32, (8, 4, 2, 2)), (64, (16, 8, 4, 2)), (8, (2, 2, 2, 2))]
)
def test_patches_are_counted_in_cells_of_each_level(patch_size: int, patches: tuple[int, ...]) -> None:
    assert VisualPromptRefiner((4, 8, 16, 32), 6, patch_size, 0.25, 1).patches == patches


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_value_is_exactly_the_activated_feature_at_kept_cells(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    refiner = VisualPromptRefiner((8,), 16, patch_size=32, keep=0.25, rounds=1).to(dtype)
    coarse = torch.randn(2, 16, 16, 16, dtype=dtype)
    refined = refiner([coarse])
    activated, scores = refiner.scorers[0](coarse)
    mask = sparse_sampling_mask(scores, 4, 0.25, 1)
    assert torch.equal(refined.masks[0], mask)
    assert torch.equal(refined.prompts[0], activated * mask)
    assert 0 < mask.mean() <= 0.25


def test_gradient_passes_at_kept_cells_and_only_there() -> None:
    torch.manual_seed(0)
    refiner = VisualPromptRefiner((8,), 3, patch_size=32, keep=0.25, rounds=1)
    scorer = refiner.scorers[0] = GivenScores(torch.rand(1, 1, 8, 8))
    coarse = torch.randn(1, 3, 8, 8, requires_grad=True)
    refined = refiner([coarse])
    weight = torch.randn(1, 3, 8, 8)
    (refined.prompts[0] * weight).sum().backward()
    mask = refined.masks[0]
    assert not mask.requires_grad
    torch.testing.assert_close(coarse.grad, weight * mask)
    # Straight-through: as if the prompt were the feature times the score.
    torch.testing.assert_close(scorer.scores.grad, (weight * coarse).sum(dim=1, keepdim=True).detach() * mask)


def test_scores_carry_gradient_to_every_weight_of_the_scorer() -> None:
    torch.manual_seed(0)
    refiner = VisualPromptRefiner((8, 16), 8, 32, 0.25, 1)
    refined = refiner([torch.randn(2, 8, 8, 8), torch.randn(2, 8, 4, 4)])
    sum(score.sum() for score in refined.scores).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in refiner.parameters())
