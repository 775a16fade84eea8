"""Regular arrays of screws, rivets, pads, buttons: elements any one of which may be missing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, Colour, blur, choose, mix, relief, spread

IN_ROWS = 0.35  # of the arrays: teeth, pins, links close together in rows
FASTENED = frozenset({"brushed metal", "rolled steel", "cast metal", "painted sheet", "plastic", "wood"})
TEXTILE = frozenset({"fabric", "leather"})
STEELS: tuple[Colour, ...] = ((0.75, 0.75, 0.77), (0.5, 0.5, 0.53), (0.78, 0.66, 0.38), (0.2, 0.2, 0.21))
BUTTONS: tuple[Colour, ...] = ((0.9, 0.88, 0.82), (0.15, 0.12, 0.1), (0.5, 0.2, 0.15), (0.2, 0.25, 0.45))
SOLDERS: tuple[Colour, ...] = ((0.82, 0.82, 0.84), (0.85, 0.68, 0.3), (0.68, 0.68, 0.7))


@dataclass(frozen=True, slots=True)
class Fixture:
    """One element of an array: its middle and half its extent, px."""

    x: float
    y: float
    radius: float


def disc(size: int, radius: float) -> Array:
    """Opacity of a disc in the middle of a square of 2 * size + 1 px."""
    at = np.arange(-size, size + 1, dtype=np.float32)
    away = np.sqrt(at[None, :] ** 2 + at[:, None] ** 2)
    return np.asarray(np.clip(np.float32(radius + 0.5) - away, 0, 1), np.float32)


def _bar(size: int, length: float, breadth: float, angle: float) -> Array:
    """Opacity of a rectangle turned by ``angle`` in the middle of a square of 2 * size + 1 px."""
    at = np.arange(-size, size + 1, dtype=np.float32)
    x, y = at[None, :], at[:, None]
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along, aside = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    within = np.minimum(length / 2 - along, breadth / 2 - aside) + np.float32(0.5)
    return np.asarray(np.clip(within, 0, 1), np.float32)


def _recess(kind: str, size: int, radius: float, angle: float) -> Array:
    """Where the head of an element is cut in: a slot, a cross, a socket, the holes of a button."""
    if kind == "screw":
        first, second = (_bar(size, 1.3 * radius, 0.28 * radius, angle + turn) for turn in (0, math.pi / 2))
        return np.maximum(first, second)
    if kind == "slotted screw":
        return _bar(size, 1.9 * radius, 0.26 * radius, angle)
    if kind == "socket screw":
        return disc(size, 0.45 * radius)
    if kind == "eyelet":
        return disc(size, 0.5 * radius)
    cut = np.zeros((2 * size + 1, 2 * size + 1), np.float32)
    if kind == "button":
        dot = disc(size, 0.13 * radius)
        for turn in range(4):
            at = angle + turn * math.pi / 2
            shift = np.array([[1, 0, 0.3 * radius * math.cos(at)], [0, 1, 0.3 * radius * math.sin(at)]])
            cut += np.asarray(cv2.warpAffine(dot, shift, dot.shape[::-1]), np.float32)
    return cut


def _stamp(
    kind: str, colour: Colour, radius: float, angle: float, light: tuple[float, float]
) -> tuple[Array, Array]:
    """Picture and opacity of one element, 2 * ceil(1.3 * radius) + 3 px square."""
    size = math.ceil(1.3 * radius) + 1
    if kind in ("tooth", "pad", "chip"):
        alpha = _bar(size, 1.9 * radius, radius, 0.0)
        shade = np.clip(1 + relief(blur(alpha, 0.2 * radius), light, 0.5 * radius), 0.5, 1.6)
    else:
        alpha = disc(size, radius)
        dome = blur(alpha, (0.3 if kind == "rivet" else 0.12) * radius)
        shade = np.clip(1 + relief(dome, light, 0.8 * radius), 0.4, 1.7)
        shade *= 1 - np.float32(0.75) * _recess(kind, size, radius, angle)
    picture = np.asarray(spread(shade) * np.array(colour, np.float32), np.float32)
    if kind == "chip":
        picture = mix(picture, (0.12, 0.1, 0.09), _bar(size, 1.2 * radius, radius, 0.0))
    return picture, alpha


def paste(image: Array, picture: Array, alpha: Array, x: float, y: float) -> None:
    """Lay a stamp on the image, in place; what sticks out of the frame is lost."""
    half = len(alpha) // 2
    left, top = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + len(alpha), image.shape[1]), min(top + len(alpha), image.shape[0])
    if x0 < x1 and y0 < y1:
        inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        image[y0:y1, x0:x1] = mix(image[y0:y1, x0:x1], picture[inside], alpha[inside])


def grid(rng: Generator, plain: NDArray[np.uint8], radius: float) -> list[tuple[float, float]]:
    """Places of a regular array that lie wholly on plain material."""
    height, width = plain.shape
    pitch = radius * rng.uniform(3.2, 7.0)
    columns, rows = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    if columns * rows < 4:
        columns += 3
    turn = float(rng.normal(0, 0.06))
    middle = np.array([width, height]) * rng.uniform(0.35, 0.65, 2)
    steps = np.arange(columns) - (columns - 1) / 2, np.arange(rows) - (rows - 1) / 2
    offsets = np.stack(np.meshgrid(*steps), -1)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points = middle + offsets.reshape(-1, 2) * pitch @ rotation
    reach = round(1.2 * radius) + 2
    clear = np.asarray(cv2.erode(plain, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8), borderValue=0))
    inside = (points >= reach).all(1) & (points < np.array([width, height]) - reach).all(1)
    return [(float(x), float(y)) for x, y in points[inside] if clear[int(y), int(x)]]


def row(rng: Generator, plain: NDArray[np.uint8], radius: float) -> list[tuple[float, float]]:
    """Places close together in one row or two, from end to end of the plain material."""
    height, width = plain.shape
    upright = bool(rng.random() < 0.5)
    across, reach = (width, height) if upright else (height, width)
    pitch, first = radius * rng.uniform(1.3, 2.6), rng.uniform(0.2, 0.8) * across
    alongs = np.arange(2 * radius, reach - 2 * radius, pitch)
    rows = [first] if rng.random() < 0.5 else [first, first + radius * rng.uniform(2.2, 3.0)]
    offset = pitch * float(rng.choice([0, 0.5]))
    points = [(at, along + number * offset) for number, at in enumerate(rows) for along in alongs]
    placed = [(a, b) if upright else (b, a) for a, b in points]
    clear = np.asarray(cv2.erode(plain, np.ones((2 * round(radius) + 1,) * 2, np.uint8), borderValue=0))
    return [
        (float(x), float(y))
        for x, y in placed
        if 0 <= x < width and 0 <= y < height and clear[int(y), int(x)]
    ]


def draw_fixtures(
    rng: Generator, image: Array, plain: NDArray[np.uint8], surface: str, light: tuple[float, float]
) -> tuple[Array, Array, tuple[Fixture, ...]]:
    """Set a regular array of like elements on the part: (without them, with them, where they are).

    Their places are cleared in ``plain``.
    """
    kinds: tuple[str, ...] = ("screw", "slotted screw", "socket screw", "rivet", "tooth")
    palette = STEELS
    if surface == "circuit board":
        kinds, palette = ("pad", "chip", "tooth", "rivet"), SOLDERS
    elif surface in TEXTILE:
        kinds, palette = ("button", "eyelet", "rivet", "tooth"), BUTTONS
    kind, colour = str(rng.choice(kinds)), choose(rng, palette)
    radius = max(3.0, rng.uniform(0.018, 0.05) * min(plain.shape))
    points = row(rng, plain, radius) if rng.random() < IN_ROWS else grid(rng, plain, radius)
    if len(points) < 3:
        return image, image, ()
    size = math.ceil(1.3 * radius) + 1
    seat, below = disc(size, 0.5 * radius), (0.05, 0.045, 0.04)
    if surface == "circuit board":
        seat, below = _bar(size, 1.6 * radius, 0.8 * radius, 0.0), (0.62, 0.42, 0.25)
    floor = np.full((*seat.shape, 3), below, np.float32)
    shadow = blur(disc(size, 1.05 * radius), 0.15 * radius) * np.float32(0.5)
    fall = (-0.15 * radius * light[0], -0.15 * radius * light[1])
    stamps = [_stamp(kind, colour, radius, rng.uniform(0, math.pi), light) for _ in range(3)]
    bare, full = image.copy(), image.copy()
    for number, (x, y) in enumerate(points):
        paste(bare, floor, seat * np.float32(0.9), x, y)
        paste(full, np.zeros_like(floor), shadow, x + fall[0], y + fall[1])
        paste(full, *stamps[number % len(stamps)], x, y)
        cv2.circle(plain, (round(x), round(y)), round(1.3 * radius) + 1, 0, -1)
    return bare, full, tuple(Fixture(x, y, radius) for x, y in points)
