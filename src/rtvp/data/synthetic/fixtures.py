"""What belongs on a part and is no defect: screws, holes, pads, seams, printed marks, conductors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, Colour, blur, choose, mix, relief, scaled, spread

FASTENED = frozenset(
    {"brushed metal", "rolled steel", "cast metal", "painted sheet", "plastic", "wood", "rubber", "cardboard"}
)
TEXTILE = frozenset({"fabric", "leather"})
STEELS: tuple[Colour, ...] = ((0.75, 0.75, 0.77), (0.5, 0.5, 0.53), (0.78, 0.66, 0.38), (0.2, 0.2, 0.21))
BUTTONS: tuple[Colour, ...] = ((0.9, 0.88, 0.82), (0.15, 0.12, 0.1), (0.5, 0.2, 0.15), (0.2, 0.25, 0.45))
SOLDERS: tuple[Colour, ...] = ((0.82, 0.82, 0.84), (0.85, 0.68, 0.3), (0.68, 0.68, 0.7))
INKS: tuple[Colour, ...] = ((0.92, 0.92, 0.92), (0.06, 0.06, 0.07), (0.1, 0.15, 0.5), (0.7, 0.1, 0.1))


@dataclass(frozen=True, slots=True)
class Fixture:
    """One element of an array: its middle and half its extent, px."""

    x: float
    y: float
    radius: float


def _disc(size: int, radius: float) -> Array:
    """Opacity of a disc in the middle of a square of 2 * size + 1 px."""
    at = np.arange(-size, size + 1, dtype=np.float32)
    away = np.sqrt(at[None, :] ** 2 + at[:, None] ** 2)
    return np.clip(np.float32(radius + 0.5) - away, 0, 1)


def _bar(size: int, length: float, breadth: float, angle: float) -> Array:
    """Opacity of a rectangle turned by ``angle`` in the middle of a square of 2 * size + 1 px."""
    at = np.arange(-size, size + 1, dtype=np.float32)
    x, y = at[None, :], at[:, None]
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along, aside = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    return np.clip(np.minimum(length / 2 - along, breadth / 2 - aside) + np.float32(0.5), 0, 1)


def _stamp(kind: str, colour: Colour, radius: float, angle: float, light: tuple[float, float]) -> tuple[Array, Array]:
    """Picture and opacity of one element, 2 * ceil(1.3 * radius) + 1 px square."""
    size = math.ceil(1.3 * radius) + 1
    if kind in ("pad", "chip"):
        breadth = 1.1 * radius if kind == "pad" else 0.95 * radius
        alpha = _bar(size, 1.9 * radius, breadth, angle)
        shade = 1 + relief(blur(alpha, 0.2 * radius), light, 0.5 * radius)
        picture = spread(np.clip(shade, 0.5, 1.6)) * np.array(colour, np.float32)
        if kind == "chip":
            middle = _bar(size, 1.2 * radius, breadth, angle)
            picture = mix(picture, (0.12, 0.1, 0.09), middle)
        return picture, alpha
    alpha = _disc(size, radius)
    dome = blur(alpha, 0.3 * radius) if kind == "rivet" else blur(alpha, 0.12 * radius)
    shade = np.clip(1 + relief(dome, light, 0.8 * radius), 0.4, 1.7)
    if kind == "screw":
        slot = np.maximum(_bar(size, 1.3 * radius, 0.28 * radius, angle), _bar(size, 0.28 * radius, 1.3 * radius, angle))
        shade *= 1 - 0.7 * slot
    elif kind == "slotted screw":
        shade *= 1 - 0.7 * _bar(size, 1.9 * radius, 0.26 * radius, angle)
    elif kind == "socket screw":
        shade *= 1 - 0.8 * _disc(size, 0.45 * radius)
    elif kind == "button":
        for turn in range(4):
            dot = _disc(size, 0.13 * radius)
            reach = 0.3 * radius
            shift = np.array(
                [[1, 0, reach * math.cos(angle + turn * math.pi / 2)], [0, 1, reach * math.sin(angle + turn * math.pi / 2)]]
            )
            shade *= 1 - 0.75 * np.asarray(cv2.warpAffine(dot, shift, dot.shape[::-1]), np.float32)
    elif kind == "eyelet":
        shade *= 1 - 0.85 * _disc(size, 0.5 * radius)
    return spread(shade) * np.array(colour, np.float32), alpha


def _paste(image: Array, picture: Array, alpha: Array, x: float, y: float) -> None:
    """Lay a stamp on the image, in place; what sticks out of the frame is lost."""
    half = len(alpha) // 2
    left, top = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + len(alpha), image.shape[1]), min(top + len(alpha), image.shape[0])
    if x0 < x1 and y0 < y1:
        inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        image[y0:y1, x0:x1] = mix(image[y0:y1, x0:x1], picture[inside], alpha[inside])


def _grid(rng: Generator, plain: NDArray[np.uint8], radius: float) -> list[tuple[float, float]]:
    """Places of a regular array that lie wholly on plain material."""
    height, width = plain.shape
    pitch = radius * rng.uniform(3.2, 7.0)
    columns, rows = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    if columns * rows < 4:
        columns += 3
    turn = float(rng.normal(0, 0.06))
    middle = np.array([width, height]) * rng.uniform(0.35, 0.65, 2)
    offsets = np.stack(np.meshgrid(np.arange(columns) - (columns - 1) / 2, np.arange(rows) - (rows - 1) / 2), -1)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points = middle + offsets.reshape(-1, 2) * pitch @ rotation
    reach = round(1.2 * radius) + 2
    clear = np.asarray(cv2.erode(plain, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8), borderValue=0))
    inside = (points >= reach).all(1) & (points < np.array([width, height]) - reach).all(1)
    return [(float(x), float(y)) for x, y in points[inside] if clear[int(y), int(x)]]


def draw_fixtures(
    rng: Generator, image: Array, plain: NDArray[np.uint8], surface: str, light: tuple[float, float]
) -> tuple[Array, Array, tuple[Fixture, ...]]:
    """Set a regular array of like elements on the part: (without them, with them, where they are).

    Their places are cleared in ``plain``.
    """
    if surface == "circuit board":
        kind, palette = str(rng.choice(["pad", "chip", "rivet"])), SOLDERS
    elif surface in TEXTILE:
        kind, palette = str(rng.choice(["button", "eyelet", "rivet"])), BUTTONS if rng.random() < 0.6 else STEELS
    else:
        kinds = ["screw", "slotted screw", "socket screw", "rivet"]
        kind, palette = str(rng.choice(kinds)), STEELS
    radius = max(3.0, rng.uniform(0.018, 0.05) * min(plain.shape))
    points = _grid(rng, plain, radius)
    if len(points) < 3:
        return image, image, ()
    colour = choose(rng, palette)
    bare, full = image.copy(), image.copy()
    size = math.ceil(1.3 * radius) + 1
    seat = _disc(size, 0.5 * radius) if surface != "circuit board" else _bar(size, 1.6 * radius, 0.8 * radius, 0.0)
    below: Colour = (0.05, 0.045, 0.04) if surface != "circuit board" else (0.62, 0.42, 0.25)
    stamps = [_stamp(kind, colour, radius, rng.uniform(0, math.pi), light) for _ in range(3)]
    if kind in ("pad", "chip"):
        stamps = [_stamp(kind, colour, radius, 0.0, light)]
    shadow = blur(_disc(size, 1.05 * radius), 0.15 * radius) * np.float32(0.5)
    for number, (x, y) in enumerate(points):
        _paste(bare, np.full((*seat.shape, 3), below, np.float32), seat * np.float32(0.9), x, y)
        _paste(full, np.zeros((*shadow.shape, 3), np.float32), shadow, x - 0.15 * radius * light[0], y - 0.15 * radius * light[1])
        _paste(full, *stamps[number % len(stamps)], x, y)
        cv2.circle(plain, (round(x), round(y)), round(1.3 * radius) + 1, 0, -1)
    return bare, full, tuple(Fixture(x, y, radius) for x, y in points)


def draw_marks(
    rng: Generator, image: Array, plain: NDArray[np.uint8], surface: str, light: tuple[float, float], unit: float
) -> Array:
    """Print, drill or seam the part now and then; drilled places are cleared in ``plain``."""
    height, width = plain.shape
    side = min(height, width)
    if rng.random() < 0.22 and surface != "concrete":
        letters = "".join(rng.choice(list("ABCDEFHKLMNPRSTXZ0123456789-"), int(rng.integers(2, 9))))
        canvas = np.zeros((height, width), np.uint8)
        size = rng.uniform(0.03, 0.1) * side / 22
        at = (int(rng.uniform(0, 0.7) * width), int(rng.uniform(0.1, 0.95) * height))
        cv2.putText(canvas, letters, at, int(rng.integers(0, 5)), size, 255, max(1, round(2 * size)), cv2.LINE_AA)
        image = mix(image, choose(rng, INKS), canvas * np.float32(rng.uniform(0.5, 0.95) / 255))
    if rng.random() < 0.18 and surface in FASTENED:
        radius = max(3.0, rng.uniform(0.02, 0.07) * side)
        size = math.ceil(1.3 * radius) + 1
        chamfer, bore = _disc(size, 1.2 * radius), _disc(size, radius)
        lit = np.clip(0.5 - relief(blur(chamfer, 0.15 * radius), light, 0.6 * radius), 0.1, 1)
        for x, y in _grid(rng, plain, 1.2 * radius)[: int(rng.integers(1, 6))]:
            _paste(image, spread(lit), chamfer * np.float32(0.8), x, y)
            _paste(image, np.full((*bore.shape, 3), 0.04, np.float32), bore, x, y)
            cv2.circle(plain, (round(x), round(y)), round(1.3 * radius) + 2, 0, -1)
    if rng.random() < 0.18 and surface not in ("circuit board", "concrete"):
        image = _seam(rng, image, plain, surface, light, unit)
    return image


def _seam(rng: Generator, image: Array, plain: NDArray[np.uint8], surface: str, light: tuple[float, float], unit: float) -> Array:
    """A straight joint from side to side: stitched on textiles, a groove elsewhere; cleared in ``plain``."""
    height, width = plain.shape
    upright = rng.random() < 0.5
    place, tilt = rng.uniform(0.1, 0.9), float(rng.normal(0, 0.03))
    line = np.array([[place - tilt, -0.05], [place + tilt, 1.05]])
    ends = (line if upright else line[:, ::-1]) * np.array([width, height])
    breadth = max(1, round(rng.uniform(1.0, 3.0) * unit))
    start, end = (tuple(int(v) for v in np.round(p)) for p in ends)
    canvas = np.zeros((height, width), np.uint8)
    cv2.line(canvas, start, end, 255, breadth, cv2.LINE_AA)
    cv2.line(plain, start, end, 0, 3 * breadth + 2)
    groove = blur(canvas * np.float32(1 / 255), 0.5 * unit)
    lit = np.clip(1 - 0.5 * groove - relief(groove, light, 1.2), 0.25, 1.5)
    image = np.asarray(image * spread(lit), np.float32)
    if surface in TEXTILE:
        canvas = np.zeros((height, width), np.uint8)
        span = ends[1] - ends[0]
        length = float(np.hypot(*span))
        aside = np.array([-span[1], span[0]]) / length * 5 * unit
        stitch = max(5.0, 7 * unit)
        for number in range(int(length / stitch)):
            first = ends[0] + aside + span * (number * stitch / length)
            last = first + span * (0.6 * stitch / length)
            corners = [tuple(int(v) for v in np.round(p * 8)) for p in (first, last)]
            cv2.line(canvas, corners[0], corners[1], 255, max(1, round(1.6 * unit)), cv2.LINE_AA, 3)
        image = mix(image, choose(rng, BUTTONS), canvas * np.float32(1 / 255))
    return image


def draw_traces(rng: Generator, image: Array, unit: float) -> tuple[Array, tuple[Array, ...], float, Colour]:
    """Lay bundles of parallel conductors with 45 degree bends and round lands on a board."""
    height, width = image.shape[:2]
    breadth = max(2.0, rng.uniform(2.5, 7) * unit)
    gap = breadth * rng.uniform(2.4, 3.6)
    bare_copper = rng.random() < 0.3
    mask = image.mean(axis=(0, 1))
    conductor = choose(rng, SOLDERS) if bare_copper else scaled((float(mask[0]), float(mask[1]), float(mask[2])), 1.7)
    canvas = np.zeros((height, width), np.uint8)
    traces: list[Array] = []
    x, upright = rng.uniform(0, gap), rng.random() < 0.5
    reach, across = (height, width) if upright else (width, height)
    while x < across:
        count = int(rng.integers(1, 6))
        bends = np.sort(rng.uniform(0, reach, 2))
        jog = float(rng.choice([-1, 0, 1])) * rng.uniform(1, 4) * gap
        ends = (rng.uniform(-0.2, 0.3) * reach, rng.uniform(0.7, 1.2) * reach)
        for number in range(count):
            base, shear = x + number * gap, number * gap * math.tan(math.pi / 8) * np.sign(jog)
            knee = bends[0] - shear
            points = np.array([[base, ends[0]], [base, knee], [base + jog, knee + abs(jog)], [base + jog, ends[1]]])
            points = points[points[:, 1].argsort(kind="stable")]
            points = points if upright else points[:, ::-1]
            traces.append(np.ascontiguousarray(points, np.float32))
            fixed = np.round(points * 8).astype(np.int32)
            cv2.polylines(canvas, [fixed], False, 255, round(breadth), cv2.LINE_AA, 3)
            for end in fixed[[0, -1]]:
                cv2.circle(canvas, (int(end[0]), int(end[1])), round(8 * 1.1 * breadth), 255, -1, cv2.LINE_AA, 3)
        x += (count + rng.uniform(0.5, 4)) * gap
    copper = canvas * np.float32(1 / 255)
    lit = spread(1 + relief(blur(copper, 0.7), (0.7, -0.7), 0.5))
    return np.asarray(mix(image, conductor, 0.9 * copper) * lit, np.float32), tuple(traces), breadth, conductor
