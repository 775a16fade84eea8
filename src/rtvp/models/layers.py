"""Small blocks that several parts of the model share."""

from __future__ import annotations

from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, SiLU: [B, in, H, W] -> [B, out, H / stride, W / stride]."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.SiLU(inplace=True),
        )


class SeparableConvBlock(nn.Sequential):
    """Depthwise 3x3 then pointwise ConvBlock: a 3x3 block at about a ninth of the cost."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvBlock(in_channels, in_channels, kernel=3, groups=in_channels),
            ConvBlock(in_channels, out_channels),
        )


class Bottleneck(nn.Module):
    """Two 3x3 blocks with a shortcut: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvBlock(channels, channels, kernel=3), ConvBlock(channels, channels, kernel=3)
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return features + self.convs(features)  # type: ignore[no-any-return]
