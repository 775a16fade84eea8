"""Path aggregation neck with the text inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.models.cross_modal_attention import MaxSigmoidAttention
from rtvp.models.layers import Bottleneck, ConvBlock


class TextGuidedBlock(nn.Module):
    """Cross-stage partial block whose last stage is weighted by the text (Eq. 7).

    Args:
        in_channels: channels that come in.
        channels: channels that go out, even.
        text_width: width of the text embeddings; None leaves the text out (a plain CSP block).
        heads: heads of the attention.

    Shapes: [B, in_channels, H, W] and text [K, D] or None -> [B, channels, H, W].
    """

    def __init__(self, in_channels: int, channels: int, text_width: int | None, heads: int) -> None:
        super().__init__()
        half = channels // 2
        self.split = ConvBlock(in_channels, channels)
        self.bottleneck = Bottleneck(half)
        self.attention = MaxSigmoidAttention(half, text_width, heads) if text_width else None
        self.merge = ConvBlock(channels + half + (half if text_width else 0), channels)

    def forward(self, feature: Tensor, text: Tensor | None) -> Tensor:
        """See the class."""
        split = self.split(feature)
        stages = [split, self.bottleneck(split[:, split.shape[1] // 2 :])]
        if self.attention is not None and text is not None:
            stages.append(self.attention(stages[-1], text))
        return self.merge(torch.cat(stages, dim=1))  # type: ignore[no-any-return]


class PathAggregationNeck(nn.Module):
    """Coarse to fine, then fine to coarse, every fusion seeing the text.

    Args:
        levels: number of pyramid levels.
        channels: channels of every level, in and out.
        text_width: width of the text embeddings; None makes a neck without text (ablation, expert).
        heads: heads of the text-visual attention.

    Shapes: levels [B, channels, H/s, W/s] (finest first) and text [K, D] or None -> the same shapes.
    """

    def __init__(self, levels: int, channels: int, text_width: int | None, heads: int = 4) -> None:
        super().__init__()

        def block() -> TextGuidedBlock:
            return TextGuidedBlock(2 * channels, channels, text_width, heads)

        self.top_down = nn.ModuleList(block() for _ in range(levels - 1))
        self.bottom_up = nn.ModuleList(block() for _ in range(levels - 1))
        self.downsample = nn.ModuleList(
            ConvBlock(channels, channels, kernel=3, stride=2) for _ in range(levels - 1)
        )

    def forward(self, features: Sequence[Tensor], text: Tensor | None) -> tuple[Tensor, ...]:
        """See the class."""
        down = [features[-1]]  # coarsest first
        for block, feature in zip(self.top_down, reversed(features[:-1]), strict=True):
            upsampled = F.interpolate(down[-1], size=feature.shape[2:], mode="nearest")
            down.append(block(torch.cat([upsampled, feature], dim=1), text))
        down.reverse()
        up = [down[0]]  # finest first
        for block, downsample, feature in zip(self.bottom_up, self.downsample, down[1:], strict=True):
            up.append(block(torch.cat([downsample(up[-1]), feature], dim=1), text))
        return tuple(up)
