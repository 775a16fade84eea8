"""Scalar fields that textures and defects are made of: cheap noise, relief shading, colour ramps.

Every field is float32 [H, W]; every image float32 [H, W, 3] RGB, 1 is white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]  # what a sum of fields is to the type checker
Colour = tuple[float, float, float]


def white(rng: Generator, height: int, width: int) -> Array:
    """White noise, uniform in [-1, 1]. Drawn as bytes: ten times faster than normal variates."""
    drawn = np.frombuffer(rng.bytes(height * width), np.int8).reshape(height, width)
    return np.asarray(drawn * np.float32(1 / 128), np.float32)


def blur(field: Floats, sigma: float) -> Array:
    """Gaussian blur, ``sigma`` in px; wide ones are done on a smaller copy."""
    height, width = field.shape
    shrink = min(sigma / 2, height / 4, width / 4)
    if shrink < 2:
        return np.asarray(cv2.GaussianBlur(field, (0, 0), max(sigma, 0.1)), np.float32)
    small = cv2.resize(field, (round(width / shrink), round(height / shrink)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def noise(
    rng: Generator, height: int, width: int, cell: float, stretch: float = 1.0, angle: float = 0.0
) -> Array:
    """Smooth noise in about [-1, 1], its features ``cell`` px wide and ``cell * stretch`` px along ``angle``.

    A small grid of white noise is resampled to the image; coarse noise is made at low resolution first.
    """
    cell = max(cell, 1.1)
    shrink = max(1.0, cell / 5)
    rows, columns = math.ceil(height / shrink), math.ceil(width / shrink)
    step, length = cell / shrink, cell * stretch / shrink
    reach = math.hypot(rows, columns)
    grid = white(rng, int(reach / step) + 5, int(reach / length) + 5)
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array([[cos / length, sin / length, 0.0], [-sin / step, cos / step, 0.0]], np.float64)
    middle = np.array([columns / 2, rows / 2])
    rotation[:, 2] = np.array([grid.shape[1] / 2, grid.shape[0] / 2]) - rotation[:, :2] @ middle
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    field = cv2.warpAffine(grid, rotation, (columns, rows), flags=flags)
    if shrink > 1:
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field, np.float32)


def fractal(
    rng: Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int = 4,
    gain: float = 0.55,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Array:
    """Octaves of `noise`, each half as coarse as the one before and ``gain`` times as strong."""
    total = noise(rng, height, width, cell, stretch, angle)
    for octave in range(1, octaves):
        total += gain**octave * noise(rng, height, width, cell / 2**octave, stretch, angle)
    return total


def relief(height_map: Floats, light: tuple[float, float], strength: float = 1.0) -> Array:
    """Slope of a height map towards the light (unit vector in the image plane): > 0 where it is lit."""
    x, y = light
    kernel = np.array([[-x - y, -2 * y, x - y], [-2 * x, 0, 2 * x], [y - x, 2 * y, x + y]], np.float32)
    slope = cv2.filter2D(height_map, cv2.CV_32F, kernel * (-strength / 8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(slope, np.float32)


def ramp(field: Floats, dark: Colour, light: Colour) -> Array:
    """An image whose colour runs from ``dark`` at 0 to ``light`` at 1."""
    planes = [field * np.float32(b - a) + np.float32(a) for a, b in zip(dark, light, strict=True)]
    return np.asarray(cv2.merge(planes), np.float32)


def spread(field: Floats) -> Array:
    """A field repeated over three channels, [H, W, 3]."""
    return np.asarray(cv2.cvtColor(np.asarray(field, np.float32), cv2.COLOR_GRAY2RGB), np.float32)


def mix(below: Array, above: Floats | Colour, alpha: Floats) -> Array:
    """``above`` laid over ``below`` with opacity ``alpha`` [H, W]."""
    top = above if isinstance(above, np.ndarray) else np.array(above, np.float32)
    return np.asarray(below + (top - below) * spread(alpha), np.float32)


def luminance(image: Array) -> Array:
    """Brightness of an image (ITU-R BT.601 weights)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def soft(distance: Floats, width: float = 1.0) -> Array:
    """Opacity of a shape from its signed distance in px (negative inside), its edge ``width`` px soft."""
    return np.asarray(np.clip(0.5 - distance / np.float32(max(width, 0.3)), 0, 1), np.float32)


def step(field: Floats, low: float, high: float) -> Array:
    """Ramps from 0 at ``low`` to 1 at ``high``."""
    return np.asarray(np.clip((field - np.float32(low)) * np.float32(1 / (high - low)), 0, 1), np.float32)


def coordinates(height: int, width: int) -> tuple[Array, Array]:
    """Column and row of every pixel centre, each broadcastable to [H, W]."""
    return np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]


def polygon(height: int, width: int, points: NDArray[np.floating]) -> Array:
    """Opacity of a filled polygon with antialiased edge; ``points`` [N, 2] are (x, y) in px."""
    canvas = np.zeros((height, width), np.uint8)
    fixed = np.round(points * 16).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(canvas * np.float32(1 / 255), np.float32)


def choose(rng: Generator, options: Sequence[Colour]) -> Colour:
    """One colour of a list, slightly varied."""
    r, g, b = np.clip(np.array(options[int(rng.integers(len(options)))]) + rng.normal(0, 0.02, 3), 0.02, 0.98)
    return float(r), float(g), float(b)


def scaled(colour: Colour, factor: float) -> Colour:
    """A colour made brighter (> 1) or darker (< 1)."""
    r, g, b = (min(max(c * factor, 0.0), 1.0) for c in colour)
    return r, g, b
