"""Multi-scale sampling: the frozen encoder's maps to one map of equal width per stride (F_i of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.layers import ConvBlock

SMALLEST_DEVIATION = 1e-3  # a channel that is the same everywhere stays near zero


def with_contrast(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 2 C, H, W]: the maps, and each channel relative to the rest of its own picture.

    What a defect looks like changes from product to product; that it differs from its surroundings does not.
    The second half has zero mean and unit deviation over the positions of each channel (instance
    normalisation without parameters).
    """
    deviation, mean = torch.std_mean(maps, dim=(2, 3), keepdim=True, correction=0)
    return torch.cat([maps, (maps - mean) / (deviation + SMALLEST_DEVIATION)], dim=1)


class SimpleFeaturePyramid(nn.Module):
    """Several strides out of one map, as ViTDet does for plain transformers.

    Finer levels by transposed convolutions, coarser ones by strided convolutions, all from the last map.

    Args:
        in_channels: channels of the one map.
        in_stride: its stride, px.
        channels: channels of every level that comes out.
        strides: strides of the levels, rising, px; powers of two apart from ``in_stride``.
        contrast: every level also sees what `with_contrast` adds.

    Shapes: a tuple whose last map is [B, in_channels, H/in_stride, W/in_stride] -> one
        [B, channels, H/s, W/s] a stride.
    """

    def __init__(
        self, in_channels: int, in_stride: int, channels: int, strides: Sequence[int], contrast: bool = False
    ) -> None:
        super().__init__()
        self.contrast = contrast
        in_channels *= 2 if contrast else 1
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
        maps = with_contrast(features[-1]) if self.contrast else features[-1]
        return tuple(level(maps) for level in self.levels)


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
        in_channels: channels of the encoder's map of each level.
        channels: channels of every level that comes out.
        maps: which of the encoder's maps each level takes; None takes the last ones.
        contrast: every level also sees what `with_contrast` adds.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        maps: Sequence[int] | None = None,
        contrast: bool = False,
    ) -> None:
        super().__init__()
        self.maps = tuple(maps if maps is not None else range(-len(in_channels), 0))
        self.contrast = contrast
        wider = 2 if contrast else 1
        self.levels = nn.ModuleList(ConvBlock(wider * width, channels) for width in in_channels)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The encoder's maps, one [B, in_channels[i], H/s, W/s] a level -> [B, channels, H/s, W/s] each."""
        chosen = (features[index] for index in self.maps)
        seen = map(with_contrast, chosen) if self.contrast else chosen
        return tuple(level(maps) for level, maps in zip(self.levels, seen, strict=True))


def make_pyramid(
    encoder: ImageEncoder, channels: int, strides: Sequence[int], contrast: bool = False
) -> nn.Module:
    """The pyramid that fits ``encoder``: simple where it has one map, lateral where it has every stride.

    Args:
        encoder: whose maps come in.
        channels: channels of every level that comes out.
        strides: strides of the levels, px.
        contrast: every level also sees what `with_contrast` adds.

    Raises:
        RtvpError: an encoder of several maps without one at each of ``strides``.
    """
    if len(encoder.strides) == 1:
        return SimpleFeaturePyramid(encoder.channels[0], encoder.strides[0], channels, strides, contrast)
    if not set(strides) <= set(encoder.strides):
        raise RtvpError(f"strides: the image encoder has {encoder.strides}, got {tuple(strides)}")
    maps = [encoder.strides.index(stride) for stride in strides]
    return LateralFeaturePyramid([encoder.channels[index] for index in maps], channels, maps, contrast)
