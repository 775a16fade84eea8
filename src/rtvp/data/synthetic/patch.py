"""The small window of a picture that a defect is painted in, and the shapes and strokes drawn there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, Floats, blur, fractal, luminance, spread
from rtvp.data.synthetic.scene import Scene


@dataclass(frozen=True, slots=True)
class Patch:
    """A window [h, w] of the picture as it is before the defect.

    Attributes:
        x, y: its top left corner in the picture, px.
        before: [h, w, 3] copy of the picture.
        u: [1, w] columns relative to the defect's middle, px.
        v: [h, 1] rows relative to it.
    """

    x: int
    y: int
    before: Array
    u: Array
    v: Array

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.before.shape[0], self.before.shape[1]

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the patch lies in the picture."""
        height, width = self.size
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


@dataclass(frozen=True, slots=True)
class Mark:
    """A painted defect: its patch, the patch afterwards [h, w, 3], and the opacity [h, w] of its shape."""

    patch: Patch
    after: Array
    cover: Array


def open_patch(canvas: Array, x: float, y: float, reach: float) -> Patch:
    """The window of ``canvas`` within ``reach`` px of (x, y), cut at the frame."""
    height, width = canvas.shape[:2]
    size = math.ceil(reach) + 2
    x0, x1 = max(0, int(x) - size), min(width, int(x) + size + 1)
    y0, y1 = max(0, int(y) - size), min(height, int(y) + size + 1)
    u = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(x)
    v = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y)
    return Patch(x0, y0, canvas[y0:y1, x0:x1].copy(), u, v)


def place(rng: Generator, scene: Scene) -> tuple[float, float]:
    """A point on plain material (anywhere, should there be hardly any)."""
    height, width = scene.region.shape
    x, y = 0, 0
    for _ in range(30):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        if scene.region[y, x]:
            break
    return float(x), float(y)


def extent(rng: Generator, scene: Scene, low: float, high: float) -> float:
    """A length in px between two fractions of the picture's side; small ones as frequent as large ones."""
    return scene.side * math.exp(rng.uniform(math.log(low), math.log(high)))


def blob(
    rng: Generator, patch: Patch, radius: float, aspect: float = 1.0, angle: float = 0.0, rough: float = 0.0
) -> Array:
    """Signed distance in about px (negative inside) to an ellipse, its outline made ``rough`` by noise."""
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along, across = patch.u * cos + patch.v * sin, (patch.v * cos - patch.u * sin) * np.float32(aspect)
    away = np.sqrt(along * along + across * across) - np.float32(radius)
    if rough > 0:
        away += np.float32(rough * radius) * fractal(rng, *patch.size, max(2.0, 0.8 * radius), 3)
    return np.asarray(away, np.float32)


def walk(
    rng: Generator, length: float, angle: float, bend: float, jag: float = 0.0, points: int = 24
) -> Array:
    """A line of ``points`` [N, 2] about the origin: ``bend`` radians of smooth turning, ``jag`` of random."""
    turning = np.cumsum(rng.normal(0, 1, points)) / math.sqrt(points) * bend
    heading = angle + turning + rng.normal(0, 1, points) * jag
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * (length / (points - 1))
    line = np.cumsum(steps, 0)
    return np.asarray(line - (line[0] + line[-1]) / 2, np.float32)


def stroke(patch: Patch, line: Array, thickness: Floats | float, feather: float = 0.0) -> Array:
    """Opacity of a line [N, 2] (relative to the patch's middle), ``thickness`` px for all or for each point.

    Its edges fade over ``feather`` px. Thin lines are drawn at twice the size and shrunk again, so that those
    thinner than a pixel come out faint.
    """
    height, width = patch.size
    cover = np.zeros((height, width), np.float32)
    widths = np.broadcast_to(np.asarray(thickness, np.float32), (len(line),))
    points = line - np.array([patch.u[0, 0], patch.v[0, 0]], np.float32)
    margin = float(widths.max()) + 3 * feather + 2
    x0, y0 = np.clip(np.floor(points.min(0) - margin), 0, (width, height)).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(points.max(0) + margin), 0, (width, height)).astype(int).tolist()
    if x0 >= x1 or y0 >= y1:
        return cover
    zoom = 2 if float(widths.max()) < 6 else 1
    canvas = np.zeros(((y1 - y0) * zoom, (x1 - x0) * zoom), np.uint8)
    fixed = np.round((points - (x0, y0) + 0.5) * (zoom * 8) - 4).astype(int).tolist()
    pens = np.maximum(1, np.round(widths * zoom)).astype(int).tolist()
    for start, end, pen in zip(fixed, fixed[1:], pens, strict=False):
        cv2.line(canvas, start, end, 255, pen, cv2.LINE_AA, 3)
    if zoom > 1:
        canvas = np.asarray(cv2.resize(canvas, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA), np.uint8)
    drawn = canvas * np.float32(1 / 255)
    cover[y0:y1, x0:x1] = blur(drawn, feather) if feather > 0 else drawn
    return cover


def typical(picture: Array, where: NDArray[np.bool_] | None = None) -> Array:
    """Median colour [3] of a picture, or of the pixels ``where``; mid grey should there be none."""
    pixels = picture.reshape(-1, 3) if where is None else picture[where]
    some = pixels[:: max(1, len(pixels) // 1000)]
    colour = np.median(some, axis=0) if len(some) else np.full(3, 0.5)
    return np.asarray(colour, np.float32)


def darken(before: Array, amount: Floats) -> Array:
    """Light taken away: all of it where ``amount`` [H, W] is 1."""
    return np.asarray(before * spread(1 - amount), np.float32)


def lighten(before: Array, amount: Floats) -> Array:
    """Towards white, reached where ``amount`` [H, W] is 1."""
    return np.asarray(before + (1 - before) * spread(amount), np.float32)


def shade(before: Array, slope: Floats, limit: float = 0.7) -> Array:
    """Brightness changed by a `relief`."""
    return np.asarray(before * spread(1 + np.clip(slope, -limit, limit)), np.float32)


def dye(before: Array, colour: tuple[float, float, float], amount: Floats, keep: float = 0.6) -> Array:
    """Tinted with ``colour``; ``keep`` of the texture below stays visible."""
    grey = luminance(before)
    grain = 1 + np.float32(keep) * (grey / np.float32(max(float(grey.mean()), 0.05)) - 1)
    top = spread(grain) * np.array(colour, np.float32)
    return np.asarray(before + (top - before) * spread(amount), np.float32)
