"""From the coarse visual prompt to the refined one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from rtvp.models.visual_prompt.sparse_sampling import MIN_PATCH_CELLS, sparse_sampling_mask
from rtvp.models.visual_prompt.uncertainty import UncertaintyScorer


class RefinedPrompt(NamedTuple):
    """One entry a level.

    Attributes:
        prompts: [B, C, H, W] activated features at kept cells, 0 elsewhere.
        scores: [B, 1, H, W] uncertainty scores M in (0, 1), with gradient.
        masks: [B, 1, H, W] 1 at kept cells, without gradient.
    """

    prompts: tuple[Tensor, ...]
    scores: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]


class VisualPromptRefiner(nn.Module):
    """Scores every cell of F^R (Eq. 4-5) and keeps few of them (Eq. 6).

    Args:
        strides: strides of the levels, px.
        channels: channels of F^R.
        patch_size: p of Eq. 6, px of the network input.
        keep: share of a patch's cells that a round may keep.
        rounds: how often the selection is repeated.
    """

    def __init__(
        self, strides: Sequence[int], channels: int, patch_size: int, keep: float, rounds: int
    ) -> None:
        super().__init__()
        self.scorers = nn.ModuleList(UncertaintyScorer(channels) for _ in strides)
        self.patches = tuple(max(MIN_PATCH_CELLS, patch_size // stride) for stride in strides)
        self.keep = keep
        self.rounds = rounds

    def forward(self, coarse: Sequence[Tensor]) -> RefinedPrompt:
        """Levels of F^R, each [B, C, H/s, W/s], to the refined prompt."""
        prompts, scores, masks = [], [], []
        for scorer, patch, feature in zip(self.scorers, self.patches, coarse, strict=True):
            activated, score = scorer(feature)
            mask = sparse_sampling_mask(score, patch, self.keep, self.rounds)
            # Straight-through: the value is the mask; the gradient at kept cells reaches the scorer as well.
            gate = mask * (1 + (score - score.detach()))
            prompts.append(activated * gate)
            scores.append(score)
            masks.append(mask)
        return RefinedPrompt(tuple(prompts), tuple(scores), tuple(masks))
