"""Parts with a shape of their own: turned ones from above and from the side, machined blocks.

Every good one has rims, steps, teeth, threads, ribs and bores; none of them is a defect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.fields import Array, blur, coordinates, relief, soft, spread

RIDGED = 0.45  # of the bodies, with threads, teeth or ribs
POINTED = 0.3  # of those seen from the side


@dataclass(frozen=True, slots=True)
class Body:
    """The shape of a part.

    Attributes:
        cover: [H, W] opacity before the backdrop.
        shading: [H, W, 3] what the picture of its material is multiplied by.
        bores: [H, W] opacity of holes with a dark ground.
        ridges: [H, W] bool, where it has a thread, teeth or ribs.
        threaded: whether these are a thread.
    """

    cover: Array
    shading: Array
    bores: Array
    ridges: NDArray[np.bool_]
    threaded: bool = False

    def shape(self, material: Array) -> Array:
        """A material [H, W, 3] in the shape of the body, before no backdrop yet."""
        dark = np.float32(0.06)
        lit = np.clip(material * self.shading, 0, 1)
        return np.asarray(lit + (dark - lit) * spread(self.bores), np.float32)


def make_body(rng: Generator, height: int, width: int, light: tuple[float, float]) -> Body:
    """Any of the kinds."""
    make = BODIES[int(rng.integers(len(BODIES)))]
    return make(rng, height, width, light)


def from_above(rng: Generator, height: int, width: int, light: tuple[float, float]) -> Body:
    """Turned about the line of sight: flanges, caps, castings, wheels, gears, bearings."""
    side = min(height, width)
    radius = side * rng.uniform(0.3, 0.6)
    middle = np.array([width, height]) / 2 + rng.normal(0, 0.06, 2) * side
    dx, dy = _about(middle, height, width)
    away = np.hypot(dx, dy / np.float32(rng.uniform(0.85, 1.0))) / np.float32(radius)
    turn = np.arctan2(dy, dx) + np.float32(rng.uniform(0, 2 * math.pi))
    outline = np.float32(1.0)
    ridges = np.zeros((height, width), np.float32)
    if rng.random() < RIDGED:
        count = int(rng.choice([12, 16, 20, 24, 32, 48, 64, 96]))
        teeth = np.clip(rng.uniform(1.0, 3.0) * np.sin(count * turn), -1, 1)
        inner = rng.uniform(0.4, 0.9)
        ring = soft((inner - away) * radius, 3) * soft((away - rng.uniform(inner + 0.08, 1.1)) * radius, 3)
        ridges = np.asarray(ring * teeth * np.float32(min(6.0, 2.0 * radius / count)), np.float32)
        if rng.random() < 0.4:
            outline = outline - np.float32(rng.uniform(0.02, 0.07)) * (1 - teeth)
    levels, zones = _profile(rng, 0.15 * radius)
    heights = _along(levels, away) + ridges
    cover = soft((away - outline) * np.float32(radius), 1.2)
    bores = np.zeros((height, width), np.float32)
    if rng.random() < 0.6:
        bores = soft((away - np.float32(rng.uniform(0.06, 0.35))) * np.float32(radius), 1.2)
    if rng.random() < 0.5:
        bores = np.maximum(bores, _bolt_circle(rng, middle, radius, height, width))
    return Body(cover, _lit(heights, zones, away, light, rng), bores, _within(ridges, cover))


def from_the_side(rng: Generator, height: int, width: int, light: tuple[float, float]) -> Body:
    """Turned about a line in the picture: screws, shafts, bottles, capsules, cables, springs."""
    side = min(height, width)
    length, thickest = side * rng.uniform(0.35, 0.75), side * rng.uniform(0.06, 0.3)
    angle = rng.normal(0, 0.1) + float(rng.choice([0, 0.5])) * math.pi
    angle = rng.uniform(0, math.pi) if rng.random() < 0.3 else angle
    middle = np.array([width, height]) / 2 + rng.normal(0, 0.05, 2) * side
    dx, dy = _about(middle, height, width)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    place = along / np.float32(2 * length) + np.float32(0.5)  # 0 to 1 from end to end
    # Head, neck, shank: pieces of like thickness with short slopes between them.
    thickness, zones = _profile(rng, 0.25 * thickest)
    thickness = np.clip(thickest * rng.uniform(0.5, 0.9) + thickness, 0.25 * thickest, thickest)
    ends = np.linspace(0, 1, len(thickness))
    rounded = rng.uniform(0.01, 0.12) if rng.random() < 0.7 else 0.002
    short = (1 - np.minimum(ends, 1 - ends) / rounded).clip(0)
    thickness = thickness * np.sqrt(np.clip(1 - short**2, 0, 1))
    if rng.random() < POINTED:
        thickness = thickness * np.clip((1 - ends) / rng.uniform(0.05, 0.3), 0, 1)
    reach = _along(np.asarray(thickness, np.float32), place)
    ridges = np.zeros((height, width), np.float32)
    if rng.random() < 2 * RIDGED:
        pitch = rng.uniform(0.025, 0.07) * side
        start = rng.uniform(-0.2, 0.7)
        threaded = soft((start - place) * 2 * length, 3) * soft(
            (place - rng.uniform(start + 0.25, 1.2)) * 2 * length, 3
        )
        lean = np.float32(rng.choice([0.0, 0.35, 0.5])) * np.float32(pitch)
        phase = (along + lean * across / np.float32(thickest)) * np.float32(2 * math.pi / pitch)
        ridges = threaded * np.clip(np.float32(rng.uniform(0.8, 2.0)) * np.sin(phase), -1, 1)
        reach = reach + np.float32(rng.uniform(0.1, 0.5) * pitch) * ridges * (reach > 1)
        ridges = np.asarray(ridges * np.float32(0.35 * pitch), np.float32)
    cover = soft(np.abs(across) - reach + 1, 1.2)  # + 1: nothing is left on the line where the part ends
    aside = np.clip(across / np.maximum(reach, 1), -1, 1)
    upright = np.sqrt(1 - aside * aside)
    lateral = np.float32(light[1]) * cos - np.float32(light[0]) * sin
    rounding = 0.35 + 0.65 * upright + np.float32(0.45) * lateral * aside
    breadth = np.float32(rng.uniform(0.01, 0.08))
    gloss = rng.uniform(0, 0.6) * np.exp(-((aside - 0.5 * lateral) ** 2) / breadth)
    shading = _lit(ridges, zones, place, light, rng) * spread((rounding + gloss).clip(0))
    bores = np.zeros((height, width), np.float32)
    return Body(cover, np.asarray(shading, np.float32), bores, _within(ridges, cover), threaded=True)


def machined(rng: Generator, height: int, width: int, light: tuple[float, float]) -> Body:
    """A block with pads, pockets, ribs and bores, often alike on both sides; it may fill the frame."""
    side = min(height, width)
    heights, bores = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    alike = rng.random() < 0.6
    turn = float(rng.normal(0, 3)) if rng.random() < 0.8 else rng.uniform(0, 180)
    for _ in range(int(rng.integers(2, 10))):
        layer = np.zeros((height, width), np.uint8)
        hole = rng.random() < 0.25
        x, y = rng.uniform(0.1, 0.9, 2) * (width, height)
        a, b = rng.uniform(0.02, 0.09 if hole else 0.25, 2) * side
        for mirrored in (False, True) if alike else (False,):
            at = (width - x, y) if mirrored else (x, y)
            if hole or rng.random() < 0.4:
                cv2.circle(layer, (round(at[0] * 8), round(at[1] * 8)), round(a * 8), 255, -1, cv2.LINE_AA, 3)
            else:
                corners = cv2.boxPoints(((float(at[0]), float(at[1])), (2 * a, 2 * b), turn))
                cv2.fillPoly(layer, [np.round(corners * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
        if hole:
            bores = np.maximum(bores, layer)
        else:
            raised = blur(layer * np.float32(1 / 255), rng.uniform(0.5, 2.5) * side / 384)
            heights += raised * np.float32(rng.uniform(-1, 1) * 0.03 * side)
    ribs = np.zeros((height, width), np.float32)
    if rng.random() < RIDGED:
        dx, dy = _about(np.array([width, height]) / 2, height, width)
        slant = math.radians(turn) + float(rng.choice([0, 0.5])) * math.pi
        along = dx * np.float32(math.cos(slant)) + dy * np.float32(math.sin(slant))
        pitch = rng.uniform(0.02, 0.12) * side
        rib = np.clip(rng.uniform(1, 4) * np.sin(along * np.float32(2 * math.pi / pitch)), -1, 1)
        from_, to = np.sort(rng.uniform(-0.6, 0.6, 2)) * side
        aside = dy * np.float32(math.cos(slant)) - dx * np.float32(math.sin(slant))
        ribs = rib * soft(from_ - aside, 2) * soft(aside - to, 2) * np.float32(0.1 * pitch)
    cover = np.ones((height, width), np.float32)
    if rng.random() < 0.5:
        canvas = np.zeros((height, width), np.uint8)
        size = rng.uniform(0.55, 0.95, 2) * (width, height)
        corners = cv2.boxPoints(((width / 2, height / 2), (float(size[0]), float(size[1])), turn))
        cv2.fillPoly(canvas, [np.round(corners * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
        cover = np.asarray(canvas * np.float32(1 / 255), np.float32)
    plain = np.zeros((height, width), np.float32)
    shading = _lit(heights + ribs, np.ones((2, 3), np.float32), plain, light, rng)
    return Body(cover, shading, np.asarray(bores * np.float32(1 / 255), np.float32), _within(ribs, cover))


BODIES: tuple[Callable[[Generator, int, int, tuple[float, float]], Body], ...] = (
    from_above,
    from_the_side,
    machined,
)


def _about(middle: NDArray[np.float64], height: int, width: int) -> tuple[Array, Array]:
    """[H, W] distance of each pixel to the right of, and below, a point (x, y)."""
    x, y = coordinates(height, width)
    dx, dy = np.broadcast_arrays(x - np.float32(middle[0]), y - np.float32(middle[1]))
    return dx, dy


def _within(ridges: Array, cover: Array) -> NDArray[np.bool_]:
    """Where a part has ridges."""
    return np.asarray((np.abs(ridges) > 0.3) & (cover > 0.9), np.bool_)


def _profile(rng: Generator, most: float) -> tuple[Array, Array]:
    """From end to end: heights [256] in steps, of ``most`` px at most, and gains of colour [256, 3]."""
    count = int(rng.integers(2, 8))
    borders = np.sort(rng.uniform(0.05, 0.98, count - 1))
    piece = np.searchsorted(borders, np.linspace(0, 1, 256))
    levels = rng.uniform(-1, 1, count)[piece].astype(np.float32) * np.float32(most)
    gains = np.ones((count, 3), np.float32)
    for number in range(count):
        if rng.random() < 0.3:
            gains[number] = rng.uniform(0.45, 1.5) * rng.uniform(0.85, 1.15, 3)
    smooth = cv2.GaussianBlur(levels[None], (0, 0), rng.uniform(0.8, 5), borderType=cv2.BORDER_REPLICATE)[0]
    return np.asarray(smooth, np.float32), gains[piece]


def _along(values: Array, place: Array) -> Array:
    """Values at 0 to 1, looked up for every pixel."""
    at = np.clip(place, 0, 1) * np.float32(len(values) - 1)
    below = at.astype(np.int32)
    above = np.minimum(below + 1, len(values) - 1)
    share = at - below
    if values.ndim == 2:
        share = share[..., None]
    return np.asarray(values[below] * (1 - share) + values[above] * share, np.float32)


def _lit(heights: Array, zones: Array, place: Array, light: tuple[float, float], rng: Generator) -> Array:
    """What light and colour make of a relief: [H, W, 3] gains."""
    slope = relief(heights, light, rng.uniform(0.8, 2.0))
    gain = 1 + np.clip(slope, -0.65, 0.8) - 0.15 * np.clip(np.abs(slope) - 0.5, 0, 1)
    return np.asarray(spread(gain) * _along(zones, place), np.float32)


def _bolt_circle(
    rng: Generator, middle: NDArray[np.float64], radius: float, height: int, width: int
) -> Array:
    """Like holes, evenly around the middle."""
    canvas = np.zeros((height, width), np.uint8)
    count, ring, hole = int(rng.integers(3, 10)), rng.uniform(0.45, 0.85), rng.uniform(0.03, 0.1)
    for turn in np.arange(count) * 2 * math.pi / count + rng.uniform(0, 2 * math.pi):
        x, y = middle + ring * radius * np.array([math.cos(turn), math.sin(turn)])
        cv2.circle(canvas, (round(x * 8), round(y * 8)), round(hole * radius * 8), 255, -1, cv2.LINE_AA, 3)
    return np.asarray(canvas * np.float32(1 / 255), np.float32)
