"""Defects in a mask: its 8-connected components."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtvp.mmio.collector import Collector
from rtvp.mmio.rle import encode_mask
from rtvp.mmio.schema import Annotation

MIN_AREA = 9  # px; smaller components are specks of the labelling tool


def find_components(
    collector: Collector, mask: NDArray[np.uint8], category: str, min_area: int, masks: bool
) -> list[Annotation]:
    """Every 8-connected component of ``mask`` as one defect with the raw name ``category``.

    Args:
        collector: where components that are too small are counted.
        mask: [H, W] of 0 and 1, of the size of the image.
        category: raw name.
        min_area: px; smaller components are dropped.
        masks: keep the pixels too.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found: list[Annotation] = []
    for index, (x, y, width, height, area) in enumerate(statistics[1:].tolist(), start=1):  # 0: background
        if area < min_area:
            collector.count(f"mask component under {min_area} pixels dropped")
            continue
        box = (float(x), float(y), float(x + width), float(y + height))
        found.append(Annotation(category, box, encode_mask(labels == index) if masks else None))
    return found


def fit_mask(collector: Collector, mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``mask`` [H, W] scaled to an image of ``size`` (width, height), counted, where it has another."""
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    collector.count("mask scaled to the size of the image")
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
