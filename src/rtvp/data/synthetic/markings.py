"""What belongs on a part and is no defect: print, drilled holes, seams, weld beads, conductors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import (
    Array,
    Colour,
    blur,
    choose,
    coordinates,
    mix,
    noise,
    relief,
    scaled,
    soft,
    spread,
)
from rtvp.data.synthetic.fixtures import BUTTONS, FASTENED, SOLDERS, TEXTILE, disc, grid, paste

WELDED = frozenset({"brushed metal", "rolled steel", "cast metal"})
UNMARKED = frozenset({"concrete", "circuit board"})
INKS: tuple[Colour, ...] = ((0.92, 0.92, 0.92), (0.06, 0.06, 0.07), (0.1, 0.15, 0.5), (0.7, 0.1, 0.1))


@dataclass(frozen=True, slots=True)
class Conductors:
    """The copper of a board: its lines, each [N, 2] points (x, y) in px, their width in px, their colour."""

    lines: tuple[Array, ...]
    width: float
    colour: Colour


def draw_marks(
    rng: Generator,
    image: Array,
    plain: NDArray[np.uint8],
    surface: str,
    light: tuple[float, float],
    unit: float,
) -> tuple[Array, Array | None]:
    """Print, drill, seam or weld the part now and then: (picture, opacity [H, W] of letters, if any).

    Drilled places are cleared in ``plain``.
    """
    joined = rng.random() < 0.2 and surface not in UNMARKED
    if joined and surface in WELDED and rng.random() < 0.6:
        image = _weld(rng, image, light, unit)
    elif joined:
        image = _seam(rng, image, surface, light, unit)
    if rng.random() < 0.18 and surface in FASTENED:
        _drill(rng, image, plain, light)
    if rng.random() < 0.22 and surface != "concrete":
        return _print(rng, image, light)
    return image, None


def _print(rng: Generator, image: Array, light: tuple[float, float]) -> tuple[Array, Array]:
    """A part number, in ink or stamped into the material: (picture, opacity of the letters)."""
    height, width = image.shape[:2]
    text = "".join(rng.choice(list("ABCDEFHKLMNPRSTXZ0123456789-"), int(rng.integers(2, 9))))
    size = rng.uniform(0.03, 0.1) * min(height, width) / 22
    at = (int(rng.uniform(0, 0.7) * width), int(rng.uniform(0.1, 0.95) * height))
    canvas = np.zeros((height, width), np.uint8)
    typeface, pen = int(rng.integers(0, 5)), max(1, round(2 * size))
    cv2.putText(canvas, text, at, typeface, size, 255, pen, cv2.LINE_AA)
    letters = np.asarray(canvas * np.float32(1 / 255), np.float32)
    if rng.random() < 0.35:
        slope = relief(blur(letters, rng.uniform(0.5, 1.5)), light, rng.uniform(-2.0, 2.0))
        return np.asarray(image * spread(1 + np.clip(slope, -0.6, 0.6)), np.float32), letters
    return mix(image, choose(rng, INKS), letters * np.float32(rng.uniform(0.5, 0.95))), letters


def _drill(rng: Generator, image: Array, plain: NDArray[np.uint8], light: tuple[float, float]) -> None:
    """Round chamfered holes in a regular array, drawn in place."""
    radius = max(3.0, rng.uniform(0.02, 0.07) * min(plain.shape))
    size = math.ceil(1.3 * radius) + 1
    chamfer, bore = disc(size, 1.2 * radius), disc(size, radius)
    lit = np.clip(0.5 - relief(blur(chamfer, 0.15 * radius), light, 0.6 * radius), 0.1, 1)
    for x, y in grid(rng, plain, 1.2 * radius)[: int(rng.integers(1, 6))]:
        paste(image, spread(lit), chamfer * np.float32(0.8), x, y)
        paste(image, np.full((*bore.shape, 3), 0.04, np.float32), bore, x, y)
        cv2.circle(plain, (round(x), round(y)), round(1.3 * radius) + 2, 0, -1)


def _joint(rng: Generator, height: int, width: int) -> NDArray[np.float64]:
    """Two ends [2, 2] (x, y) of a nearly upright or level line from side to side."""
    place, tilt = rng.uniform(0.1, 0.9), float(rng.normal(0, 0.03))
    line = np.array([[place - tilt, -0.05], [place + tilt, 1.05]])
    ends = line if rng.random() < 0.5 else line[:, ::-1]
    return np.asarray(ends * np.array([width, height]), np.float64)


def _seam(rng: Generator, image: Array, surface: str, light: tuple[float, float], unit: float) -> Array:
    """A straight groove, with a row of stitches beside it on textiles."""
    height, width = image.shape[:2]
    ends = _joint(rng, height, width)
    canvas = np.zeros((height, width), np.uint8)
    breadth = max(1, round(rng.uniform(1.0, 3.0) * unit))
    start, end = np.round(ends * 8).astype(int).tolist()
    cv2.line(canvas, start, end, 255, breadth, cv2.LINE_AA, 3)
    groove = blur(canvas * np.float32(1 / 255), 0.5 * unit)
    lit = np.clip(1 - 0.5 * groove - relief(groove, light, 1.2), 0.25, 1.5)
    image = np.asarray(image * spread(lit), np.float32)
    if surface not in TEXTILE:
        return image
    canvas[:] = 0
    span = ends[1] - ends[0]
    length = float(np.hypot(*span))
    aside = np.array([-span[1], span[0]]) / length * 5 * unit
    stitch = max(5.0, 7 * unit)
    for number in range(int(length / stitch)):
        first = ends[0] + aside + span * (number * stitch / length)
        start, end = (
            np.round(np.stack([first, first + span * (0.6 * stitch / length)]) * 8).astype(int).tolist()
        )
        cv2.line(canvas, start, end, 255, max(1, round(1.6 * unit)), cv2.LINE_AA, 3)
    return mix(image, choose(rng, BUTTONS), canvas * np.float32(1 / 255))


def _weld(rng: Generator, image: Array, light: tuple[float, float], unit: float) -> Array:
    """A weld bead: a rounded band of overlapping ripples between two heat-tinted strips."""
    height, width = image.shape[:2]
    ends = _joint(rng, height, width)
    along = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
    x, y = coordinates(height, width)
    dx, dy = x - np.float32(ends[0, 0]), y - np.float32(ends[0, 1])
    half = np.float32(rng.uniform(0.03, 0.09) * min(height, width))
    across = (dy * np.float32(along[0]) - dx * np.float32(along[1])) / half
    across += np.float32(0.12) * noise(rng, height, width, 2 * half)
    pitch = np.float32(2 * math.pi / (rng.uniform(0.35, 0.8) * half))
    ripple = np.sin((dx * np.float32(along[0]) + dy * np.float32(along[1])) * pitch + 3 * across * across)
    inside = soft((np.abs(across) - 1) * half, 1.5)
    bead = inside * (
        np.sqrt(np.clip(1 - across * across, 0, 1)) * half + np.float32(rng.uniform(0.3, 1.0)) * ripple
    )
    tinted = image * spread(1 - np.float32(0.35) * np.exp(-np.abs(np.abs(across) - 1) * 1.5))
    slope = np.clip(relief(bead, light, rng.uniform(0.5, 1.0)), -0.6, 0.8)
    return np.asarray(
        tinted * spread(1 + slope + 0.06 * inside * noise(rng, height, width, 2 * unit)), np.float32
    )


def draw_conductors(rng: Generator, image: Array, unit: float) -> tuple[Array, Conductors]:
    """Lay bundles of parallel lines with 45 degree bends and drilled lands on a board."""
    height, width = image.shape[:2]
    breadth = max(2.0, rng.uniform(2.5, 7) * unit)
    gap = breadth * rng.uniform(2.4, 3.6)
    red, green, blue, _ = cv2.mean(image)
    colour = choose(rng, SOLDERS) if rng.random() < 0.4 else scaled((red, green, blue), rng.uniform(1.5, 2.2))
    canvas = np.zeros((height, width), np.uint8)
    lines: list[Array] = []
    upright = bool(rng.random() < 0.5)
    across, reach = (width, height) if upright else (height, width)
    at = rng.uniform(0, gap)
    while at < across:
        count = int(rng.integers(1, 6))
        for bundle_line in _bundle(rng, count, at, gap, reach):
            line = np.ascontiguousarray(bundle_line if upright else bundle_line[:, ::-1], np.float32)
            lines.append(line)
            fixed = np.round(line * 8).astype(np.int32)
            cv2.polylines(canvas, [fixed], False, 255, round(breadth), cv2.LINE_AA, 3)
            for end in fixed[[0, -1]].tolist():
                cv2.circle(canvas, end, round(8 * 1.1 * breadth), 255, -1, cv2.LINE_AA, 3)
                cv2.circle(canvas, end, round(8 * 0.4 * breadth), 0, -1, cv2.LINE_AA, 3)
        at += (count + rng.uniform(0.5, 4)) * gap
    copper = canvas * np.float32(1 / 255)
    lit = spread(1 + relief(blur(copper, 0.7), (0.7, -0.7), 0.5))
    picture = np.asarray(mix(image, colour, np.float32(0.9) * copper) * lit, np.float32)
    return picture, Conductors(tuple(lines), breadth, colour)


def _bundle(rng: Generator, count: int, at: float, gap: float, reach: float) -> list[NDArray[np.float64]]:
    """Parallel lines [4, 2] (across, along), ``gap`` px apart, that step aside together at 45 degrees."""
    start, end = rng.uniform(-0.2, 0.3) * reach, rng.uniform(0.7, 1.2) * reach
    jog = float(rng.choice([-1, 0, 1])) * min(rng.uniform(1, 4) * gap, 0.3 * (end - start))
    lines = []
    bend = rng.uniform(start, end - abs(jog))
    for number in range(count):
        x = at + number * gap
        # Each line bends a little before its neighbour, so that the gap is kept on the slope.
        knee = float(
            np.clip(bend - number * gap * math.tan(math.pi / 8) * np.sign(jog), start, end - abs(jog))
        )
        lines.append(np.array([[x, start], [x, knee], [x + jog, knee + abs(jog)], [x + jog, end]]))
    return lines
