"""Training only: a box head on the sampled cells, so that CIoU pulls the sampling onto the defects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.models.contrastive_head import anchor_grid


class AuxiliaryBoxHead(nn.Module):
    """Predicts a box at every cell from the refined visual prompt alone.

    Args:
        strides: strides of the levels, px.
        channels: channels of the prompt.

    Shapes: levels [B, channels, H/s, W/s] -> boxes [B, A, 4] xyxy in px of the network input, cells of all
        levels in the order of the levels, row by row.
    """

    def __init__(self, strides: Sequence[int], channels: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.predictors = nn.ModuleList(nn.Conv2d(channels, 4, kernel_size=1) for _ in strides)

    def forward(self, prompts: Sequence[Tensor]) -> Tensor:
        """See the class."""
        distances = [p(prompt) for p, prompt in zip(self.predictors, prompts, strict=True)]
        points, strides = anchor_grid(distances, self.strides)
        flat = torch.cat([distance.flatten(2) for distance in distances], dim=2)  # [B, 4, A]
        # softplus keeps every distance positive; a cell's natural unit is its stride.
        ltrb = F.softplus(flat.transpose(1, 2).float()) * strides[None, :, None]
        return torch.cat([points - ltrb[..., :2], points + ltrb[..., 2:]], dim=-1)
