from __future__ import annotations

import torch
import torch.nn.functional as F

from rtvp.models.visual_prompt.uncertainty import UncertaintyScorer


def test_scores_follow_equations_4_and_5() -> None:
    torch.manual_seed(0)
    scorer = UncertaintyScorer(12)
    coarse = torch.randn(2, 12, 9, 11)
    first, _, second = scorer.perceptron

    def perceive(pooled: torch.Tensor) -> torch.Tensor:  # [B, C] -> [B, C]
        hidden = F.linear(pooled, first.weight[:, :, 0, 0], first.bias).relu()
        return F.linear(hidden, second.weight[:, :, 0, 0], second.bias).sigmoid()

    channel = perceive(coarse.flatten(2).mean(dim=2)) + perceive(coarse.flatten(2).max(dim=2).values)
    expected = coarse * channel[:, :, None, None]
    pooled = torch.stack([expected.mean(dim=1), expected.max(dim=1).values], dim=1)
    score = F.conv2d(pooled, scorer.mix.weight, scorer.mix.bias, padding=3).sigmoid()

    activated, scores = scorer(coarse)
    torch.testing.assert_close(activated, expected)
    torch.testing.assert_close(scores, score)


def test_ranges() -> None:
    torch.manual_seed(0)
    coarse = torch.randn(2, 16, 8, 8) * 5
    activated, scores = UncertaintyScorer(16)(coarse)
    assert scores.shape == (2, 1, 8, 8)
    assert scores.min() > 0
    assert scores.max() < 1
    factor = activated / coarse
    assert factor.min() > 0
    assert factor.max() < 2
    # One factor a channel, the same at every position.
    torch.testing.assert_close(factor.amin(dim=(2, 3)), factor.amax(dim=(2, 3)), rtol=1e-4, atol=1e-5)


def test_a_fresh_scorer_says_of_most_cells_that_they_show_nothing() -> None:
    torch.manual_seed(0)
    _, scores = UncertaintyScorer(16)(torch.zeros(1, 16, 4, 4))
    torch.testing.assert_close(scores, torch.full_like(scores, 0.1192), rtol=0, atol=1e-4)  # sigmoid(-2)
