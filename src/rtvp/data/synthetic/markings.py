"""What belongs on a part and is no defect: print, drilled holes, seams."""

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
    mix,
    noise,
    relief,
    spread,
)
from rtvp.data.synthetic.fixtures import BUTTONS, FASTENED, TEXTILE, disc, grid, paste
from rtvp.data.synthetic.weld_bead import Bead, draw_bead

WELDED = frozenset({"brushed metal", "rolled steel", "cast metal"})
UNMARKED = frozenset({"concrete", "circuit board"})
SEAMED = 0.2  # of the parts
WELDED_OR_SEAMED = 0.45  # of those of metal
HAND_MARKED = 0.06
CHALKS: tuple[Colour, ...] = (
    (0.93, 0.93, 0.9),
    (0.9, 0.8, 0.2),
    (0.08, 0.08, 0.1),
    (0.75, 0.15, 0.12),
    (0.2, 0.3, 0.75),
)
INKS: tuple[Colour, ...] = ((0.92, 0.92, 0.92), (0.06, 0.06, 0.07), (0.1, 0.15, 0.5), (0.7, 0.1, 0.1))


@dataclass(frozen=True, slots=True)
class Marked:
    """A part with what was put on it.

    Attributes:
        image: [H, W, 3].
        lettering: [H, W] opacity of letters, None where there are none.
        bead: of its weld, None where it has none.
    """

    image: Array
    lettering: Array | None = None
    bead: Bead | None = None


def draw_marks(
    rng: Generator,
    image: Array,
    plain: NDArray[np.uint8],
    surface: str,
    light: tuple[float, float],
    unit: float,
) -> Marked:
    """Print, drill, seam or weld the part now and then, write on it by hand.

    Drilled places are cleared in ``plain``.
    """
    lettering, bead = None, None
    joined = rng.random() < (WELDED_OR_SEAMED if surface in WELDED else SEAMED) and surface not in UNMARKED
    if joined and surface in WELDED and rng.random() < 0.75:
        image, bead = draw_bead(rng, image, _joint(rng, *plain.shape), light, unit)
    elif joined:
        image = _seam(rng, image, surface, light, unit)
    if rng.random() < 0.18 and surface in FASTENED:
        _drill(rng, image, plain, light)
    if rng.random() < 0.22 and surface != "concrete":
        image, lettering = _print(rng, image, light)
    if rng.random() < HAND_MARKED and surface not in UNMARKED:
        image = _write_by_hand(rng, image)
    return Marked(image, lettering, bead)


def _write_by_hand(rng: Generator, image: Array) -> Array:
    """Chalk or marker, as inspectors and fitters leave it: a ring, a tick, a cross or a stroke."""
    height, width = image.shape[:2]
    side = min(height, width)
    size, turn = rng.uniform(0.05, 0.22) * side, rng.uniform(0, 2 * math.pi)
    middle = rng.uniform(0.1, 0.9, 2) * (width, height)
    kind = rng.random()
    if kind < 0.5:
        angles = np.linspace(0, rng.uniform(1.7, 2.2) * math.pi, 30)
        flat = rng.uniform(0.5, 1.0)
        strokes = [np.stack([np.cos(angles), flat * np.sin(angles)], 1) * (1 + 0.1 * rng.normal())]
    elif kind < 0.7:
        strokes = [np.array([[-0.5, 0.0], [0.0, 0.6], [1.0, -0.9]])]
    elif kind < 0.85:
        strokes = [np.array([[-0.7, -0.7], [0.7, 0.7]]), np.array([[-0.7, 0.7], [0.7, -0.7]])]
    else:
        strokes = [np.array([[-1.0, 0.0], [0.0, rng.uniform(-0.2, 0.2)], [1.0, 0.0]])]
    cos, sin = math.cos(turn), math.sin(turn)
    canvas = np.zeros((height, width), np.uint8)
    pen = max(1, round(rng.uniform(0.006, 0.02) * side))
    for line in strokes:
        shaky = (line + rng.normal(0, 0.03, line.shape)) @ np.array([[cos, sin], [-sin, cos]])
        fixed = np.round((middle + size * shaky) * 8).astype(np.int32)
        cv2.polylines(canvas, [fixed], False, 255, pen, cv2.LINE_AA, 3)
    grain = np.clip(0.75 + rng.uniform(0, 0.8) * noise(rng, height, width, 2.0), 0, 1)
    return mix(image, choose(rng, CHALKS), canvas * np.float32(rng.uniform(0.6, 0.95) / 255) * grain)


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
