"""The learnable scorer that gives every cell of the coarse visual prompt its uncertainty score (Eq. 4-5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class UncertaintyScorer(nn.Module):
    """Eq. 4: M = spatial(channel(F^R)).

    Channel activation (Eq. 5, first line): sigmoid(Q W mean) + sigmoid(Q W max), mean and max over positions,
    Q and W a two-layer perceptron shared by both; it scales the channels by a factor in (0, 2).
    Spatial activation (Eq. 5, second line): sigmoid of a 7x7 convolution over mean and max of the channels.

    Args:
        channels: channels of F^R.
        reduction: width of the perceptron is channels / reduction.

    Shapes: [B, channels, H, W] -> ([B, channels, H, W] activated features, [B, 1, H, W] scores in (0, 1)).
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.perceptron = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1), nn.ReLU(), nn.Conv2d(hidden, channels, kernel_size=1)
        )
        self.mix = nn.Conv2d(2, 1, kernel_size=7, padding=3)
        nn.init.constant_(self.mix.bias, -2.0)  # type: ignore[arg-type]  # most cells show no defect

    def forward(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        mean = coarse.mean(dim=(2, 3), keepdim=True)
        peak = coarse.amax(dim=(2, 3), keepdim=True)
        channel = self.perceptron(mean).sigmoid() + self.perceptron(peak).sigmoid()
        activated = coarse * channel
        spatial = torch.cat([activated.mean(dim=1, keepdim=True), activated.amax(dim=1, keepdim=True)], dim=1)
        return activated, self.mix(spatial).sigmoid()
