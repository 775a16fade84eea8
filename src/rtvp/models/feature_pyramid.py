"""Multi-scale sampling: the frozen encoder's maps to one map of equal width per stride (F_i of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.layers import ConvBlock


class SimpleFeaturePyramid(nn.Module):
    """Several strides out of one map, as ViTDet does for plain transformers.

    Finer levels by transposed convolutions, coarser ones by strided convolutions, all from the last map.

    Args:
        in_channels: channels of the one map.
        in_stride: its stride, px.
        channels: channels of every level that comes out.
        strides: strides of the levels, rising, px; powers of two apart from ``in_stride``.

    Shapes: a tuple with one map [B, in_channels, H/in_stride, W/in_stride] -> one [B, channels, H/s, W/s] a stride.
    """

    def __init__(self, in_channels: int, in_stride: int, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                *_resample(in_channels, in_stride, stride),
                ConvBlock(in_channels, channels),
                ConvBlock(channels, channels, kernel=3),
            )
            for stride in strides
        )

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See the class."""
        return tuple(level(features[-1]) for level in self.levels)


def _resample(channels: int, in_stride: int, out_stride: int) -> list[nn.Module]:
    steps: list[nn.Module] = []
    while in_stride > out_stride:
        steps += [nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2), nn.GELU()]
        in_stride //= 2
    while in_stride < out_stride:
        steps.append(ConvBlock(channels, channels, kernel=3, stride=2))
        in_stride *= 2
    return steps


class LateralFeaturePyramid(nn.Module):
    """One 1x1 convolution a level, for encoders that are multi-scale themselves.

    Levels are not mixed here: the neck does that, with the text at hand.

    Args:
        in_channels: channels of the encoder's map at each of ``strides``.
        channels: channels of every level that comes out.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ConvBlock(width, channels) for width in in_channels)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One [B, in_channels[i], H/s, W/s] a level -> one [B, channels, H/s, W/s] a level."""
        levels = features[len(features) - len(self.levels) :]
        return tuple(level(feature) for level, feature in zip(self.levels, levels, strict=True))


def make_pyramid(encoder: ImageEncoder, channels: int, strides: Sequence[int]) -> nn.Module:
    """The pyramid that fits ``encoder``: lateral where it has every stride, simple where it has one map."""
    if len(encoder.strides) == 1:
        return SimpleFeaturePyramid(encoder.channels[0], encoder.strides[0], channels, strides)
    widths = dict(zip(encoder.strides, encoder.channels, strict=True))
    return LateralFeaturePyramid([widths[stride] for stride in strides], channels)
