"""Weld beads: rounded bands of overlapping ripples between two scorched strips; no defects here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import (
    Array,
    Colour,
    choose,
    coordinates,
    fractal,
    mix,
    noise,
    relief,
    soft,
    spread,
)

SCORCHED: tuple[Colour, ...] = ((0.12, 0.1, 0.09), (0.4, 0.25, 0.1), (0.15, 0.2, 0.4), (0.6, 0.58, 0.55))


@dataclass(frozen=True, slots=True)
class Bead:
    """Where a weld lies.

    Attributes:
        start: [2] where it comes into the frame, (x, y) in px.
        along: [2] unit vector along it.
        length: px.
        half: half its breadth, px.
        without: [H, W, 3] the part as it is where the bead is missing.
    """

    start: NDArray[np.float64]
    along: NDArray[np.float64]
    length: float
    half: float
    without: Array


def draw_bead(
    rng: Generator, image: Array, ends: NDArray[np.float64], light: tuple[float, float], unit: float
) -> tuple[Array, Bead]:
    """Weld two sheets along the line between ``ends`` [2, 2] (x, y): (picture, where the bead lies)."""
    height, width = image.shape[:2]
    length = float(np.hypot(*(ends[1] - ends[0])))
    along = (ends[1] - ends[0]) / length
    x, y = coordinates(height, width)
    dx, dy = x - np.float32(ends[0, 0]), y - np.float32(ends[0, 1])
    half = rng.uniform(0.015, 0.08) * min(height, width)
    aside = dy * np.float32(along[0]) - dx * np.float32(along[1])
    if rng.random() < 0.4:  # sheets that face the light differently
        image = image * spread(1 + np.float32(rng.uniform(-0.4, 0.3)) * soft(aside, 1.5))
    across = aside / np.float32(half)
    across += np.float32(rng.uniform(0.05, 0.3)) * noise(rng, height, width, 2 * half)
    heat = np.exp(-np.maximum(np.abs(across) - 1, 0) / np.float32(rng.uniform(0.5, 3)))
    heat *= np.clip(0.8 + 0.5 * fractal(rng, height, width, 6 * half, 3), 0, 1)
    tinted = mix(
        np.asarray(image, np.float32), choose(rng, SCORCHED), np.float32(rng.uniform(0.1, 0.75)) * heat
    )
    gap = soft(np.abs(aside) - np.float32(max(1.0, 0.15 * half)), 1.5)
    pitch = np.float32(2 * math.pi / (rng.uniform(0.35, 0.8) * half))
    ripple = np.sin((dx * np.float32(along[0]) + dy * np.float32(along[1])) * pitch + 3 * across * across)
    inside = soft((np.abs(across) - 1) * np.float32(half), 1.5)
    rough = np.float32(rng.uniform(0, 0.25) * half) * fractal(rng, height, width, max(2.0, 0.5 * half), 3)
    height_map = np.sqrt(np.clip(1 - across * across, 0, 1)) * np.float32(half)
    height_map = inside * (height_map + np.float32(rng.uniform(0.3, 1.0)) * ripple + rough)
    slope = np.clip(relief(height_map, light, rng.uniform(0.5, 1.2)), -0.6, 0.9)
    bright = 1 + np.float32(rng.uniform(-0.4, 0.5)) * inside
    welded = tinted * spread((1 + slope) * bright + 0.06 * inside * noise(rng, height, width, 2 * unit))
    without = np.asarray(tinted * spread(1 - 0.8 * gap), np.float32)
    return np.asarray(welded, np.float32), Bead(ends[0], along, length, half, without)
