"""Text-visual interaction: image features weighted by how well they match any of the prompts (Eq. 7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaxSigmoidAttention(nn.Module):
    """Eq. 7: F * sigmoid(max_k(F . T_k)), per head.

    The paper writes Argmax where only the maximum has a gradient and a meaning as a weight: read as max.

    Args:
        channels: channels of the feature, divisible by ``heads``.
        text_width: width D of the text embeddings.
        heads: heads, each with its own slice of the channels and its own bias.

    Shapes: feature [B, C, H, W], text [K, D] normalised -> [B, C, H, W].
    """

    def __init__(self, channels: int, text_width: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.heads = heads
        self.guide = nn.Linear(text_width, channels)
        self.embed = nn.Conv2d(channels, channels, kernel_size=1)
        self.bias = nn.Parameter(torch.zeros(heads))

    def forward(self, feature: Tensor, text: Tensor) -> Tensor:
        """See the class."""
        weight = self.attention(feature, text).permute(0, 2, 3, 1)  # [B, H, W, heads]
        # Channels last, as the convolutions around it, which would have to rearrange a whole map otherwise.
        headed = feature.permute(0, 2, 3, 1).view(*weight.shape, -1)
        return (headed * weight[..., None]).flatten(3).permute(0, 3, 1, 2)

    def attention(self, feature: Tensor, text: Tensor) -> Tensor:
        """The weight itself: [B, heads, H, W] in (0, 1)."""
        batch, channels, height, width = feature.shape
        per_head = channels // self.heads
        guide = self.guide(text).view(-1, self.heads, per_head).transpose(0, 1)  # [heads, K, C / heads]
        query = self.embed(feature).view(batch, self.heads, per_head, height * width)
        match = (guide @ query).amax(dim=2) / per_head**0.5  # [B, heads, H * W]
        weight: Tensor = (match + self.bias[:, None]).sigmoid()
        return weight.view(batch, self.heads, height, width)
