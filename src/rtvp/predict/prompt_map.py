"""What the visual prompt picked out: the explanation of a result."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rtvp.data.images import content_size, drawn_size
from rtvp.types import Floats, Letterbox, Predictions


def prompt_maps(found: Predictions, letterboxes: Sequence[Letterbox], shape: tuple[int, int]) -> list[Floats]:
    """The uncertainty score (Eq. 4-5) where the sparse sampling (Eq. 6) kept the cell, best of all levels.

    Args:
        found: predictions for B images, with prompt scores and masks.
        letterboxes: B placements of the originals in the input.
        shape: height and width of the input, px.

    Returns:
        B maps [height, width] float32 in [0, 1], over the originals, at the size at which these are drawn.
    """
    kept = [score * mask for score, mask in zip(found.prompt_scores, found.prompt_masks, strict=True)]
    return [
        _over_original([level[image, 0] for level in kept], placement, shape)
        for image, placement in enumerate(letterboxes)
    ]


def _over_original(levels: Sequence[Floats], placement: Letterbox, shape: tuple[int, int]) -> Floats:
    """The best of levels [H/s, W/s] that cover an input of ``shape``, over the original."""
    over_input = [cv2.resize(level, shape[::-1], interpolation=cv2.INTER_LINEAR) for level in levels]
    width, height = content_size(placement)
    inside = np.max(over_input, axis=0)[:height, :width]
    size = drawn_size(placement.width, placement.height)
    return np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_LINEAR).clip(0, 1), np.float32)
