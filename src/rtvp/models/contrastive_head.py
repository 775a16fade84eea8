"""Detection head: region-text contrastive logits and boxes as distance distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rtvp.models.layers import ConvBlock, SeparableConvBlock

# The sigmoid of a fresh head says "almost certainly not": rare positives do not drown in the first steps.
PRIOR_PROBABILITY = 0.01
INITIAL_SCALE = 10.0
MAX_SCALE = 50.0
SMALL_BOX_DECAY = 0.35  # per bin: distances start at about two strides


def anchor_grid(levels: Sequence[Tensor], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Cell centres and strides of all levels, in the order of the levels, row by row.

    Args:
        levels: maps [B, C, H/s, W/s]; only their shape, device are read.
        strides: their strides, px.

    Returns:
        points [A, 2] (x, y) in px of the network input, and strides [A]; both float32.
    """
    points, sizes = [], []
    for level, stride in zip(levels, strides, strict=True):
        height, width = level.shape[2:]
        ys = (torch.arange(height, device=level.device, dtype=torch.float32) + 0.5) * stride
        xs = (torch.arange(width, device=level.device, dtype=torch.float32) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
        points.append(torch.stack([grid_x, grid_y], dim=-1).view(-1, 2))
        sizes.append(torch.full((height * width,), float(stride), device=level.device))
    return torch.cat(points), torch.cat(sizes)


class ContrastiveClassifier(nn.Module):
    """Logit of a cell and a prompt: cosine of their embeddings * scale + bias.

    Args:
        in_channels: channels of the region feature.
        text_width: width D of the text embeddings.

    Shapes: [B, in_channels, H, W] and text [K, D] normalised -> [B, K, H, W].
    """

    def __init__(self, in_channels: int, text_width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, text_width, kernel_size=1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(-math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)))

    def forward(self, feature: Tensor, text: Tensor) -> Tensor:
        """See the class."""
        weight = self.project.weight.flatten(1).float()  # [D, C]
        offset = self.project.bias.float()  # type: ignore[union-attr]
        with torch.autocast(feature.device.type, enabled=False):
            # The region embedding r = W f + b is never made: its D channels (384) are four times those of f.
            # With T the text, r . T = f . (W'T) + b . T and |r|^2 = f . (W'W f) + 2 f . (W'b) + |b|^2.
            kernels = torch.cat([text.float() @ weight, weight.T @ weight])  # [K + C, C]
            constants = torch.cat([text.float() @ offset, 2 * (weight.T @ offset)])  # [K + C]
        # A product and not a convolution: its kernels come in with the text, which OpenVINO lets none do.
        cells = feature.flatten(2)  # [B, C, H * W]
        mapped = (kernels.to(cells.dtype) @ cells + constants.to(cells.dtype)[:, None]).float()
        mapped = mapped.view(feature.shape[0], -1, *feature.shape[2:])  # [B, K + C, H, W]
        match, gram = mapped[:, : text.shape[0]], mapped[:, text.shape[0] :]
        squared = (gram * feature.float()).sum(dim=1, keepdim=True) + offset.square().sum()
        similarity = match / squared.clamp(min=1e-12).sqrt()
        scale = self.log_scale.clamp(max=math.log(MAX_SCALE)).exp()
        return similarity * scale + self.bias


class LinearClassifier(nn.Module):
    """Closed set: one logit a class, no text. Shapes: [B, in_channels, H, W] -> [B, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(in_channels, classes, kernel_size=1)
        nn.init.constant_(self.linear.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))  # type: ignore[arg-type]

    def forward(self, feature: Tensor, text: Tensor | None) -> Tensor:
        """See the class; ``text`` is not read."""
        return self.linear(feature)  # type: ignore[no-any-return]


class HeadOutput(NamedTuple):
    """Predictions at every cell; A cells of all levels, finest level first.

    Attributes:
        boxes_xyxy: [B, A, 4] float32, px of the network input.
        logits: [B, A, K] float32.
        distance_logits: [B, A, 4, bins] float32.
        anchor_points: [A, 2] cell centres, px.
        anchor_strides: [A] px.
    """

    boxes_xyxy: Tensor
    logits: Tensor
    distance_logits: Tensor
    anchor_points: Tensor
    anchor_strides: Tensor


class DetectionHead(nn.Module):
    """Decoupled head: per level a branch for classes and one for boxes, both starting from the same map.

    Boxes are distances left, top, right, bottom from the cell centre, each the mean of a distribution over
    ``bins`` steps of one stride (distribution focal loss).

    Args:
        strides: strides of the levels, px.
        channels: channels of the levels.
        classifiers: one a level: called with (feature, text), returns [B, K, H, W].
        bins: bins of a distance distribution.
    """

    def __init__(
        self, strides: Sequence[int], channels: int, classifiers: Sequence[nn.Module], bins: int
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.bins = bins
        self.class_branches = nn.ModuleList(
            nn.Sequential(
                SeparableConvBlock(channels, channels),
                SeparableConvBlock(channels, channels),
            )
            for _ in strides
        )
        self.classifiers = nn.ModuleList(classifiers)
        self.box_branches = nn.ModuleList(
            nn.Sequential(
                ConvBlock(channels, channels // 2, kernel=3),
                SeparableConvBlock(channels // 2, channels // 2),
                nn.Conv2d(channels // 2, 4 * bins, kernel_size=1),
            )
            for _ in strides
        )
        self._start_with_small_boxes()

    def _start_with_small_boxes(self) -> None:
        # A flat distribution starts at boxes of bins strides: small defects would overlap with nothing.
        decay = torch.linspace(0, -SMALL_BOX_DECAY * (self.bins - 1), self.bins).repeat(4)
        for branch in self.box_branches:
            with torch.no_grad():
                branch[-1].bias.copy_(decay)  # type: ignore[index]

    def forward(self, features: Sequence[Tensor], text: Tensor | None) -> HeadOutput:
        """Levels [B, C, H/s, W/s] (one a stride) and text [K, D] to predictions."""
        logits, distances = [], []
        for level, feature in enumerate(features):
            logits.append(self.classifiers[level](self.class_branches[level](feature), text).flatten(2))
            distances.append(self.box_branches[level](feature).flatten(2))  # [B, 4 * bins, H * W]
        points, strides = anchor_grid(features, self.strides)
        flat = torch.cat(distances, dim=2).float().transpose(1, 2)  # [B, A, 4 * bins]
        distance_logits = flat.reshape(*flat.shape[:2], 4, self.bins)
        steps = torch.arange(self.bins, device=flat.device, dtype=flat.dtype)
        ltrb = (distance_logits.softmax(dim=-1) * steps).sum(dim=-1) * strides[None, :, None]
        boxes = torch.cat([points - ltrb[..., :2], points + ltrb[..., 2:]], dim=-1)
        return HeadOutput(
            boxes, torch.cat(logits, dim=2).float().transpose(1, 2), distance_logits, points, strides
        )
