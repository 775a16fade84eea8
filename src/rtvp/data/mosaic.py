"""Four pictures in one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rtvp.data.training_sample import Sample, known_of_all
from rtvp.data.transforms import visible_boxes

_CROSSING = (0.35, 0.65)  # where the four meet, as shares of the sides


def mosaic(rng: np.random.Generator, size: int, tile: Callable[[int], Sample]) -> Sample:
    """Four pictures around a point near the middle of a picture of ``size`` px.

    Of each picture, a square, a random part of the size of its field is shown. What is known of the whole is
    what is known of all four (`known_of_all`).

    Args:
        rng: where chance comes from.
        size: side, px.
        tile: makes a picture of a given side, px; called four times.
    """
    x, y = (int(size * share) for share in rng.uniform(*_CROSSING, size=2))
    image = np.empty((size, size, 3), np.uint8)
    boxes: list[NDArray[np.float32]] = []
    names: list[frozenset[str]] = []
    known = []
    for x1, y1, x2, y2 in ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)):
        width, height = x2 - x1, y2 - y1
        part = tile(max(width, height))
        spare = max(width, height) - np.array([width, height])
        left, top = (int(start) for start in rng.integers(spare, endpoint=True))
        window = np.array([left, top, left + width, top + height], np.float32)
        image[y1:y2, x1:x2] = part.image[top : top + height, left : left + width]
        visible, kept = visible_boxes(part.boxes_xyxy, window)
        boxes.append(visible + np.array([x1 - left, y1 - top] * 2, np.float32))
        names += [part.names[i] for i in kept]
        known.append(part.known)
    return Sample(image, np.concatenate(boxes), tuple(names), known_of_all(known))
