"""Expert-assisted domain adaptation: masked features of the encoder, decoded into the expert's (Eq. 1-2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DECODER_DEPTH = 3  # "three layers of convolution and deconvolution", below Eq. 2


def random_patch_mask(feature: Tensor, patch: int, share: float, generator: torch.Generator | None) -> Tensor:
    """Eq. 1: a binary mask that is 0 on a random ``share`` of the patches, chosen uniformly per image.

    Args:
        feature: [B, C, H, W]; only its shape and device are read.
        patch: side of a patch, cells.
        share: share of the patches to mask, in [0, 1).
        generator: source of randomness on the CPU; None takes torch's global one.

    Returns:
        [B, 1, H, W] float of 0 and 1.
    """
    batch, _, height, width = feature.shape
    rows, columns = -(-height // patch), -(-width // patch)
    order = torch.rand(batch, rows * columns, generator=generator).argsort(dim=1)
    keep = (order >= round(share * rows * columns)).float().view(batch, 1, rows, columns)
    mask = keep.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
    return mask[:, :, :height, :width].to(feature)


class FeatureDecoder(nn.Module):
    """Eq. 2: three strided convolutions down, three transposed ones up, ReLU between: F^M -> F^R.

    The paper's formula multiplies the two sums; read literally it has no order of layers. This is the usual
    hourglass, with a sum where a map of the same size was left on the way down: what is fine survives.
    The last layer has no ReLU: the target (Eq. 3) is normalised and has both signs.

    Args:
        channels: channels of input and output.
        hidden_channels: channels inside.

    Shapes: [B, channels, H, W] -> [B, channels, H, W], any H and W.
    """

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        widths = [channels] + [hidden_channels] * DECODER_DEPTH
        self.down = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], kernel_size=3, stride=2, padding=1)
            for i in range(DECODER_DEPTH)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[i + 1], widths[i], kernel_size=4, stride=2, padding=1)
            for i in reversed(range(DECODER_DEPTH))
        )

    def forward(self, feature: Tensor) -> Tensor:
        """See the class."""
        passed = [feature]
        for down in self.down:
            passed.append(F.relu(down(passed[-1])))
        decoded = passed.pop()
        for up in self.up:
            skip = passed.pop()
            decoded = up(decoded)[:, :, : skip.shape[2], : skip.shape[3]] + skip
            if passed:
                decoded = F.relu(decoded)
        return decoded


class PyramidDecoder(nn.Module):
    """One `FeatureDecoder` a level: the pyramid F_i -> the coarse visual prompt F_i^R, same shapes."""

    def __init__(self, levels: int, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(FeatureDecoder(channels, hidden_channels) for _ in range(levels))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See the class."""
        return tuple(decoder(feature) for decoder, feature in zip(self.decoders, features, strict=True))
