"""What the visual prompt picked out: the explanation of a result."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.data.images import content_size, drawn_size
from rtvp.types import DetectorOutput, Letterbox


def prompt_maps(
    output: DetectorOutput, letterboxes: Sequence[Letterbox], shape: tuple[int, int]
) -> list[npt.NDArray[np.float32]]:
    """The uncertainty score (Eq. 4-5) where the sparse sampling (Eq. 6) kept the cell, best of all levels.

    Args:
        output: predictions for B images, with prompt scores and masks.
        letterboxes: B placements of the originals in the input.
        shape: height and width of the input, px.

    Returns:
        B maps [height, width] float32 in [0, 1], over the originals, at the size at which these are drawn.
    """
    kept = [score * mask for score, mask in zip(output.prompt_scores, output.prompt_masks, strict=True)]
    levels = [F.interpolate(level, size=shape, mode="bilinear") for level in kept]
    best = torch.stack(levels).amax(dim=0)[:, 0]  # [B, H, W]
    return [_over_original(heat, placement) for heat, placement in zip(best, letterboxes, strict=True)]


def _over_original(heat: Tensor, placement: Letterbox) -> npt.NDArray[np.float32]:
    width, height = content_size(placement)
    inside = heat[:height, :width].float().cpu().contiguous().numpy()
    size = drawn_size(placement.width, placement.height)
    resized = cv2.resize(inside, size, interpolation=cv2.INTER_LINEAR)
    clipped: npt.NDArray[np.float32] = resized.clip(0, 1)
    return clipped
