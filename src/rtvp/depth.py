"""Samples of any type to 8 bits, by the rules that `rtvp.data.images` tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BIT_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
BLOCK_ROWS = 256  # that are computed with at a time: a picture may have 100 megapixels


def to_8_bits(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Integers, floats or booleans of any shape to 0..255."""
    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples)
    if samples.dtype.kind == "b":
        return np.where(samples, 255, 0).astype(np.uint8)
    if samples.dtype.kind == "f":
        finite = np.isfinite(samples)
        values = np.where(finite, samples, samples[finite].min() if finite.any() else 0)
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 255:
            low, high = 0.0, 1.0 if high <= 1 else 255.0
        return scaled(values, low, high)
    return scaled(samples, 0.0, white_of(int(samples.max())))


def white_of(brightest: int) -> float:
    """White, for integers of which this is the largest: that of the smallest bit depth that holds it."""
    return float(2 ** next((bits for bits in BIT_DEPTHS if brightest < 2**bits), 64) - 1)


def scaled(samples: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """``low`` to 0, ``high`` to 255, the rest in proportion, cut off where it is beyond."""
    out = np.empty(samples.shape, dtype=np.uint8)
    for top in range(0, len(samples), BLOCK_ROWS):
        block = samples[top : top + BLOCK_ROWS].astype(np.float64)
        out[top : top + BLOCK_ROWS] = np.rint(((block - low) * (255 / ((high - low) or 1.0))).clip(0, 255))
    return out
