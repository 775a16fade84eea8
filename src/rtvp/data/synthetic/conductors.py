"""The copper of a circuit board, and where it lies; no defects here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, Colour, blur, choose, mix, relief, scaled, spread
from rtvp.data.synthetic.fixtures import SOLDERS

TWO_TONED = 0.4  # of the boards: films, back-lit ones and what a line camera makes of bare copper
LAMINATES: tuple[Colour, ...] = (
    (0.95, 0.95, 0.95),
    (0.04, 0.04, 0.04),
    (0.75, 0.68, 0.5),
    (0.3, 0.32, 0.34),
)
POURED = 0.25  # of the places for a bundle of lines: filled with copper instead
GAPS = (2.0, 3.6)  # from line to line, in breadths of the wider


@dataclass(frozen=True, slots=True)
class Conductors:
    """The copper of a board.

    Attributes:
        lines: [N, 2] points (x, y) each, px; neighbours follow each other.
        breadths: of the lines, px.
        colour: of the copper.
        holes: [M, 3] middle (x, y) and radius of drilled holes, px.
        copper: [H, W] opacity of all of it.
    """

    lines: tuple[Array, ...]
    breadths: tuple[float, ...]
    colour: Colour
    holes: Array
    copper: Array


def draw_conductors(rng: Generator, image: Array, unit: float) -> tuple[Array, Conductors]:
    """Lay bundles of parallel lines with 45 degree bends, drilled lands and filled areas on a board."""
    height, width = image.shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    upright = bool(rng.random() < 0.5)
    across, reach = (width, height) if upright else (height, width)
    typical = rng.uniform(2.5, 9) * unit
    lines: list[Array] = []
    breadths: list[float] = []
    holes: list[tuple[float, float, float]] = []
    at = rng.uniform(0, 3 * typical)
    while at < across:
        breadth = max(2.0, typical * float(np.exp(rng.normal(0, 0.35))))
        gap = breadth * rng.uniform(*GAPS)
        if rng.random() < POURED:
            far = at + rng.uniform(2, 9) * gap
            _pour(rng, canvas, upright, at, far, gap)
            at = far + rng.uniform(1, 3) * gap
            continue
        count = int(rng.integers(1, 7))
        spans = _bundle(rng, count, at, gap, reach)
        # Lands wider than the gap allows stand one behind the other.
        land = breadth * rng.uniform(0.8, 2.2)
        square, hole = bool(rng.random() < 0.3), land * rng.uniform(0.3, 0.6) * (rng.random() < 0.7)
        for number, span in enumerate(spans):
            if land > 0.45 * gap:
                span[0, 1] += number % 3 * 2.6 * land
                span[-1, 1] -= number % 3 * 2.6 * land
            line = np.ascontiguousarray(span if upright else span[:, ::-1], np.float32)
            lines.append(line)
            breadths.append(breadth)
            cv2.polylines(canvas, [_fixed(line)], False, 255, max(1, round(breadth)), cv2.LINE_AA, 3)
            for x, y in line[[0, -1]].tolist():
                _land(canvas, x, y, land, square, 255)
                if hole >= 1.5:
                    _land(canvas, x, y, hole, False, 0)
                    holes.append((x, y, hole))
        at += (count + rng.uniform(0.3, 3)) * gap
    copper = np.asarray(canvas * np.float32(1 / 255), np.float32)
    picture, colour = _coloured(rng, image, copper)
    drilled = np.array(holes, np.float32).reshape(-1, 3)
    return picture, Conductors(tuple(lines), tuple(breadths), colour, drilled, copper)


def _coloured(rng: Generator, image: Array, copper: Array) -> tuple[Array, Colour]:
    """The board with its copper, and the colour of that: under solder mask, or bare and two-toned."""
    if rng.random() < TWO_TONED:
        laminate = choose(rng, LAMINATES)
        dark = sum(laminate) < 1.5
        colour = scaled((1.0, 1.0, 1.0), rng.uniform(0.75, 1.0) if dark else rng.uniform(0.02, 0.3))
        grain = 0.15 * (image / np.float32(max(float(image.mean()), 0.02)) - 1)
        ground = np.asarray((1 + grain) * np.array(laminate, np.float32), np.float32)
        return mix(ground, colour, copper), colour
    red, green, blue, _ = cv2.mean(image)
    colour = choose(rng, SOLDERS) if rng.random() < 0.4 else scaled((red, green, blue), rng.uniform(1.5, 2.2))
    lit = spread(1 + relief(blur(copper, 0.7), (0.7, -0.7), 0.5))
    return np.asarray(mix(image, colour, np.float32(0.9) * copper) * lit, np.float32), colour


def _fixed(points: Array) -> NDArray[np.int32]:
    """Points in eighths of a pixel, as OpenCV draws them."""
    return np.round(points * 8).astype(np.int32)


def _land(canvas: NDArray[np.uint8], x: float, y: float, radius: float, square: bool, tone: int) -> None:
    """A round or square land, or the hole in it, drawn in place."""
    if square:
        low, high = ((round(8 * (x + d)), round(8 * (y + d))) for d in (-radius, radius))
        cv2.rectangle(canvas, low, high, tone, -1, cv2.LINE_AA, 3)
    else:
        cv2.circle(canvas, (round(8 * x), round(8 * y)), round(8 * radius), tone, -1, cv2.LINE_AA, 3)


def _pour(
    rng: Generator, canvas: NDArray[np.uint8], upright: bool, start: float, end: float, gap: float
) -> None:
    """Fill a strip or a block with copper, with a few lands in clearings of their own."""
    reach = canvas.shape[0] if upright else canvas.shape[1]
    first, last = (-0.1, 1.1) if rng.random() < 0.6 else np.sort(rng.uniform(-0.1, 1.1, 2))
    corners = np.array(
        [[start, first * reach], [end, first * reach], [end, last * reach], [start, last * reach]]
    )
    fixed = _fixed(np.asarray(corners if upright else corners[:, ::-1], np.float32))
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, 3)
    radius = rng.uniform(0.3, 0.8) * gap
    if end - start < 4 * radius:
        return
    for place in np.arange(first * reach, last * reach, rng.uniform(5, 12) * radius):
        aside = rng.uniform(start + 2 * radius, end - 2 * radius)
        x, y = (aside, place) if upright else (place, aside)
        _land(canvas, x, y, 1.5 * radius, False, 0)
        _land(canvas, x, y, radius, False, 255)


def _bundle(rng: Generator, count: int, at: float, gap: float, reach: float) -> list[NDArray[np.float64]]:
    """Parallel lines [4, 2] (across, along), ``gap`` px apart, that step aside together at 45 degrees."""
    start, end = rng.uniform(-0.2, 0.4) * reach, rng.uniform(0.6, 1.2) * reach
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
