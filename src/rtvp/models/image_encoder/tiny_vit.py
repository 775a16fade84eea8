"""TinyViT-5M as Mobile-SAM uses it: the paper's frozen image encoder.

Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022; Zhang et al.,
"Faster Segment Anything: Towards Lightweight SAM for Mobile Applications", 2023. Mobile-SAM changes the
original in two things: the last stage keeps stride 16, and SAM's neck of 256 channels follows. The official
names of the parameters are kept, so that the official file loads as it is.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.image_encoder.checkpoint import load_exactly, read_state_dict

DIMS = (64, 128, 160, 320)  # channels of the four stages
DEPTHS = (2, 2, 6, 2)  # blocks
HEADS = (2, 4, 5, 10)  # the first stage is convolutional: its entries here and in WINDOWS are unused
WINDOWS = (7, 7, 14, 7)  # side of the attention windows, cells
DOWNSAMPLING = (2, 2, 1)  # stride from each stage to the next; 1 before the last, which stays at stride 16
EXPANSION = 4  # of the hidden layers, in blocks of both kinds
NECK_CHANNELS = 256

CHECKPOINT_PREFIX = "image_encoder."
# May be in the file, yet without influence on the features: TinyViT's ImageNet classifier, and tables that
# follow from the window size.
UNUSED_PARTS = ("norm_head", "head")
UNUSED_SUFFIX = ".attention_bias_idxs"


class TinyViT(ImageEncoder):
    """Mobile-SAM's image encoder for any input size: one map of stride 16, 256 channels; 5.7 M weights."""

    def __init__(self) -> None:
        super().__init__(
            strides=(16,),
            channels=(NECK_CHANNELS,),
            pixel_mean=(123.675, 116.28, 103.53),
            pixel_std=(58.395, 57.12, 57.375),
        )
        self.patch_embed = PatchEmbedding(DIMS[0])
        self.layers = nn.ModuleList(Stage(index) for index in range(len(DIMS)))
        self.neck = nn.Sequential(
            nn.Conv2d(DIMS[-1], NECK_CHANNELS, 1, bias=False),
            LayerNorm2d(NECK_CHANNELS),
            nn.Conv2d(NECK_CHANNELS, NECK_CHANNELS, 3, padding=1, bias=False),
            LayerNorm2d(NECK_CHANNELS),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] to ([B, 256, H/16, W/16],); see ``ImageEncoder``."""
        x = self.patch_embed(self.normalise(images))  # [B, 64, H/4, W/4]
        for layer in self.layers:
            x = layer(x)
        return (self.neck(x),)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation; padded so that only the stride shrinks the map."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        normalised: Tensor = self.bn(self.c(x))
        return normalised


class PatchEmbedding(nn.Module):
    """Two convolutions of stride 2: [B, 3, H, W] to [B, dim, H/4, W/4]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, dim // 2, 3, 2), nn.GELU(), ConvNorm(dim // 2, dim, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        embedded: Tensor = self.seq(x)
        return embedded


class Stage(nn.Module):
    """The blocks of one stage, then the step to the next stage's channels and stride (none after the last).

    Args:
        index: which stage, 0 to 3. Stage 0 is convolutional, the others attend.
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        dim = DIMS[index]
        self.blocks = nn.ModuleList(
            ConvBlock(dim) if index == 0 else AttentionBlock(dim, HEADS[index], WINDOWS[index])
            for _ in range(DEPTHS[index])
        )
        self.downsample = (
            Downsampling(dim, DIMS[index + 1], DOWNSAMPLING[index]) if index + 1 < len(DIMS) else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, dim, H, W] to [B, next dim, H / step, W / step]."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class ConvBlock(nn.Module):
    """Inverted residual with GELU, also after the sum. Keeps the shape [B, dim, H, W]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim * EXPANSION
        self.conv1 = ConvNorm(dim, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class Downsampling(nn.Module):
    """Convolutions 1x1, depthwise 3x3, 1x1: [B, in_dim, H, W] to [B, out_dim, H / stride, W / stride]."""

    def __init__(self, in_dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_dim, out_dim)
        self.conv2 = ConvNorm(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        reduced: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return reduced


class AttentionBlock(nn.Module):
    """Attention in windows, a depthwise convolution across their borders, an MLP. Keeps [B, dim, H, W]."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, heads, window)
        self.local_conv = ConvNorm(dim, dim, 3, groups=dim)
        self.mlp = MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.attn(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        update: Tensor = self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + update


class WindowAttention(nn.Module):
    """Multi-head self-attention in windows that tile the map, with a learned bias per head and distance.

    The map is padded with zeros at the right and the bottom to whole windows. The padding takes part in the
    attention: the official weights were trained so.

    Args:
        dim: channels, divisible by ``heads``.
        heads: attention heads.
        window: side of the square windows, cells.
    """

    bias_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)  # per head: query, key, value
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))  # by |dy| * window + |dx|
        cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))  # [N, 2], N = window ** 2
        distance = (cells[:, None] - cells[None]).abs()  # [N, N, 2]: |dy|, |dx|
        self.register_buffer("bias_index", distance[..., 0] * window + distance[..., 1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, dim] to the same shape."""
        height, width = x.shape[1:3]
        missing_rows, missing_columns = -height % self.window, -width % self.window
        x = F.pad(x, (0, 0, 0, missing_columns, 0, missing_rows))
        x = _from_windows(self._attend(_to_windows(x, self.window)), x.shape, self.window)
        return x[:, :height, :width]

    def _attend(self, windows: Tensor) -> Tensor:
        """[M, N, dim] to the same shape: every window for itself."""
        qkv = self.qkv(self.norm(windows)).unflatten(-1, (self.heads, -1))  # [M, N, heads, 3 d]
        query, key, value = qkv.transpose(1, 2).chunk(3, dim=-1)  # [M, heads, N, d] each
        bias = self.attention_biases[:, self.bias_index].unsqueeze(0)  # [1, heads, N, N]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class MLP(nn.Module):
    """Layer normalisation and two linear layers over the last axis: [..., dim] to the same shape."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * EXPANSION)
        self.fc2 = nn.Linear(dim * EXPANSION, dim)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        mapped: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return mapped


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def load_mobile_sam(encoder: TinyViT, path: Path) -> None:
    """Fill ``encoder`` from the official ``mobile_sam.pt``; a file that does not fit changes nothing.

    Raises:
        RtvpError: the file is missing, damaged, or not Mobile-SAM's.
    """
    tensors = {
        name.removeprefix(CHECKPOINT_PREFIX): value
        for name, value in read_state_dict(path).items()
        if name.startswith(CHECKPOINT_PREFIX)
    }
    if not tensors:
        raise RtvpError(
            f"{path}: expected Mobile-SAM's mobile_sam.pt with tensors named {CHECKPOINT_PREFIX}*, found none"
        )
    used = {
        name: value
        for name, value in tensors.items()
        if name.split(".")[0] not in UNUSED_PARTS and not name.endswith(UNUSED_SUFFIX)
    }
    load_exactly(encoder, used, path)


def _to_windows(x: Tensor, window: int) -> Tensor:
    """[B, H, W, C] to [B * H/window * W/window, window * window, C]."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def _from_windows(windows: Tensor, shape: torch.Size, window: int) -> Tensor:
    """Undo ``_to_windows``: back to ``shape`` [B, H, W, C]."""
    batch, height, width, channels = shape
    x = windows.view(batch, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(shape)
