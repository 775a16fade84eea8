"""Comparison with good parts: what every good part shows is no defect, whatever it looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.detector import RTVPDetector
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.network import Network
from rtvp.models.torch_network import TorchNetwork, to_tensor
from rtvp.types import DetectorOutput

LEAST_IMAGES = 2  # one alone does not say how much good parts differ
STRIDES = (8, 16)  # of the maps that are compared: finer ones see texture alone, coarser ones the whole part
CELLS = 4000  # that are remembered; more of the same part say little that is new
RARE = 0.99  # share of the places of good parts that are more usual than one that counts as unusual
LEAST_SPREAD = 0.01  # of the length of a feature: good images that are all the same still have noise
WEIGHT = 1.0  # logits that a box loses if it is full of what is usual


class GoodParts(nn.Module):
    """How unusual each place of an image is beside good parts.

    The distance of its features to the nearest that a good part shows, anywhere (PatchCore, Roth et al. 2022,
    with a random choice of cells in the place of its coreset). -1 is the median over places of good parts,
    each compared with the other ones, 0 what one in a hundred of these places exceeds.

    Args:
        levels: which maps of the encoder are compared.
        stride: of the answer, px.
        scales: [L] what the features of each level are divided by.
        cells: [N, C] features of good parts, all levels beside each other.
        usual: distance that becomes -1.
        rare: distance that becomes 0.

    ``forward`` takes the encoder's maps [B, C_l, H/s_l, W/s_l] and gives [B, H/stride, W/stride].
    """

    scales: Tensor
    cells: Tensor

    def __init__(
        self, levels: Sequence[int], stride: int, scales: Tensor, cells: Tensor, usual: float, rare: float
    ) -> None:
        super().__init__()
        self.levels, self.stride = tuple(levels), stride
        self.usual, self.rare = usual, rare
        self.register_buffer("scales", scales)
        self.register_buffer("cells", cells)

    @property
    def digest(self) -> str:
        """Tells one choice of good parts from another."""
        return hashlib.sha256(self.cells.cpu().numpy().tobytes()).hexdigest()[:16]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See the class."""
        places = [level / scale for level, scale in zip(_smooth(maps, self.levels), self.scales, strict=True)]
        joined = torch.cat(places, dim=1)  # [B, C, h, w]
        distance = torch.cdist(joined.flatten(2).transpose(1, 2), self.cells[None]).amin(dim=2)
        return ((distance - self.rare) / (self.rare - self.usual)).view(-1, *joined.shape[2:])


@torch.inference_mode()
def learn_good_parts(encoder: ImageEncoder, images: Iterable[Tensor]) -> GoodParts:
    """Remember what good parts look like.

    Args:
        encoder: in eval mode.
        images: at least two, each [1, 3, H, W], float RGB in 0..255, of one size or several.

    Raises:
        RtvpError: fewer images, or an encoder without a map of the strides that are compared.
    """
    levels = [index for index, stride in enumerate(encoder.strides) if stride in STRIDES]
    if not levels:
        raise RtvpError(
            f"comparison with good parts: expected an encoder with stride 8 or 16, got {encoder.strides}"
        )
    seen = [_smooth(encoder(image), levels) for image in images]
    if len(seen) < LEAST_IMAGES:
        raise RtvpError(
            f"comparison with good parts: expected at least {LEAST_IMAGES} images, got {len(seen)}"
        )
    scales = torch.stack(
        [torch.cat([maps[level].flatten() for maps in seen]).std() for level in range(len(levels))]
    )
    places = [
        torch.cat([part / scale for part, scale in zip(maps, scales, strict=True)], dim=1)[0].flatten(1).T
        for maps in seen
    ]  # of each image [h * w, C]
    owner = torch.cat([torch.full((len(own),), index) for index, own in enumerate(places)])
    chosen = torch.randperm(len(owner), generator=torch.Generator().manual_seed(0))[:CELLS]
    cells, owner = torch.cat(places)[chosen], owner[chosen]
    # Each image against the others: against itself every place would be known.
    apart = torch.cat(
        [
            torch.cdist(own, cells[owner.to(cells.device) != index]).amin(dim=1)
            for index, own in enumerate(places)
        ]
    )
    usual, rare = float(apart.median()), float(apart.quantile(RARE))
    rare = max(rare, usual + LEAST_SPREAD * float(cells.norm(dim=1).mean()))
    return GoodParts(levels, encoder.strides[levels[-1]], scales, cells, usual, rare)


class ComparingDetector(nn.Module):
    """A detector whose scores rise where an image differs from good parts, and fall where it does not.

    Args:
        detector: finds what prompts name.
        good: what good parts look like to its image encoder.

    ``forward`` is that of `RTVPDetector`.
    """

    def __init__(self, detector: RTVPDetector, good: GoodParts) -> None:
        super().__init__()
        self.detector, self.good = detector, good

    @property
    def image_encoder(self) -> ImageEncoder:
        """The detector's."""
        return self.detector.image_encoder

    def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
        """See the class."""
        maps = self.image_encoder(images)
        features = self.detector.pyramid(maps)
        output = self.detector.interpret(features, self.detector.adapt(features), text)
        unusual = mean_inside(self.good(maps), output.boxes_xyxy / self.good.stride)
        logits = output.logits + WEIGHT * unusual[..., None]
        presence = None if self.detector.presence is None else self.detector.presence(logits)
        return replace(output, logits=logits, presence_logits=presence)


def compare(network: Network, images: Iterable[NDArray[np.uint8]]) -> tuple[TorchNetwork, str]:
    """A network as `ComparingDetector`, and what tells these good parts from others.

    Args:
        network: a detector in PyTorch.
        images: of good parts, at least two, each [3, H, W] RGB as the network takes them.

    Raises:
        RtvpError: an exported detector, one that compares already, or too few images.
    """
    if not isinstance(network, TorchNetwork) or not isinstance(network.module, RTVPDetector):
        raise RtvpError("only a checkpoint can be compared with good parts, once, and not an exported file")
    tensors = (to_tensor(pixels[None], network.device) for pixels in images)
    parts = learn_good_parts(network.module.image_encoder, tensors)
    compared = ComparingDetector(network.module, parts)
    return TorchNetwork(compared, network.device, network.half), parts.digest


def mean_inside(maps: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Mean of a map over the cells that each box touches.

    Args:
        maps: [B, h, w].
        boxes_xyxy: [B, A, 4], in cells; what lies outside counts as the nearest cell.

    Returns:
        [B, A].
    """
    height, width = maps.shape[1:]
    sums = F.pad(maps.double().cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0)).flatten(1)  # [B, (h + 1) * (w + 1)]
    x1, x2 = (boxes_xyxy[..., side].long().clamp(0, width - 1) for side in (0, 2))
    y1, y2 = (boxes_xyxy[..., side].long().clamp(0, height - 1) for side in (1, 3))
    x2, y2 = torch.maximum(x1, x2) + 1, torch.maximum(y1, y2) + 1

    def until(x: Tensor, y: Tensor) -> Tensor:
        return sums.gather(1, y * (width + 1) + x)

    total = until(x2, y2) - until(x1, y2) - until(x2, y1) + until(x1, y1)
    return (total / ((x2 - x1) * (y2 - y1))).to(maps.dtype)


def _smooth(maps: Sequence[Tensor], levels: Sequence[int]) -> list[Tensor]:
    """The chosen maps, each place with its neighbours, at the size of the last: [B, C_l, h, w] each."""
    near = [F.avg_pool2d(maps[level].float(), kernel_size=3, stride=1, padding=1) for level in levels]
    height, width = near[-1].shape[2:]
    return [F.adaptive_avg_pool2d(level, (height, width)) for level in near]
