"""Materials: each function paints a defect-free texture that fills the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from rtvp.data.synthetic.fields import (
    Array,
    Colour,
    blur,
    choose,
    coordinates,
    fractal,
    noise,
    ramp,
    relief,
    scaled,
    spread,
    step,
    white,
)

METALS: tuple[Colour, ...] = ((0.62, 0.63, 0.65), (0.45, 0.46, 0.5), (0.7, 0.6, 0.4), (0.68, 0.47, 0.36))
PAINTS: tuple[Colour, ...] = (
    (0.75, 0.1, 0.1),
    (0.1, 0.2, 0.6),
    (0.12, 0.4, 0.2),
    (0.85, 0.7, 0.1),
    (0.88, 0.88, 0.86),
    (0.08, 0.08, 0.09),
    (0.5, 0.52, 0.55),
    (0.85, 0.42, 0.1),
)


@dataclass(frozen=True, slots=True)
class Texture:
    """A material as painted: its picture, direction of its grain (radians), pitch of its pattern (px)."""

    image: Array
    angle: float = 0.0
    pitch: float = 6.0


def _angle(rng: Generator) -> float:
    """Mostly along an image axis, as parts are usually laid; sometimes askew."""
    base = float(rng.choice([0.0, math.pi / 2]))
    return base + float(rng.normal(0, 0.05) if rng.random() < 0.7 else rng.uniform(0, math.pi))


def _light(rng: Generator) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * math.pi)
    return math.cos(angle), math.sin(angle)


def brushed_metal(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Fine parallel streaks; now and then turned on a lathe, with circular ones."""
    angle = _angle(rng)
    tone, contrast = rng.uniform(0.55, 1.15), rng.uniform(0.06, 0.22)
    if rng.random() < 0.2:
        x, y = coordinates(height, width)
        cx, cy = rng.uniform(-0.3, 1.3) * width, rng.uniform(-0.3, 1.3) * height
        dx, dy = np.broadcast_arrays(x - np.float32(cx), y - np.float32(cy))
        radius = np.sqrt(dx * dx + dy * dy)
        grooves = rng.uniform(-1, 1, int(radius.max()) + 2).astype(np.float32)
        field = grooves[radius.astype(np.int32)] + 0.3 * white(rng, height, width)
        sheen = np.cos(2 * np.arctan2(dy, dx) + np.float32(rng.uniform(0, 6)))
        field = contrast * field + 0.15 * sheen
    else:
        field = 0.7 * noise(rng, height, width, 1.2 * unit, 50, angle)
        field += 0.5 * noise(rng, height, width, 3.5 * unit, 40, angle)
        field += 0.5 * noise(rng, height, width, 40 * unit, 5, angle)
        field += 0.2 * white(rng, height, width)
        field *= np.float32(contrast)
    colour = scaled(choose(rng, METALS), tone)
    return Texture(ramp(field + 0.5, scaled(colour, 0.4), scaled(colour, 1.6)), angle, 4 * unit)


def rolled_steel(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Hot-rolled strip: mottled grey with faint rolling streaks."""
    angle = _angle(rng)
    field = rng.uniform(0.1, 0.25) * fractal(rng, height, width, 50 * unit, 5, 0.65)
    field += 0.1 * noise(rng, height, width, 2 * unit, 30, angle)
    field += rng.uniform(0.03, 0.12) * white(rng, height, width)
    colour = scaled(choose(rng, METALS[:2]), rng.uniform(0.5, 1.2))
    return Texture(ramp(field + 0.5, scaled(colour, 0.4), scaled(colour, 1.6)), angle, 4 * unit)


def cast_metal(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Sand-cast skin: fine bumps lit from the side."""
    bumps = fractal(rng, height, width, rng.uniform(4, 9) * unit, 2)
    field = relief(bumps, _light(rng), rng.uniform(0.3, 1.0)) + 0.1 * fractal(
        rng, height, width, 60 * unit, 3
    )
    field += 0.05 * white(rng, height, width)
    colour = scaled(choose(rng, METALS[:2]), rng.uniform(0.35, 1.0))
    return Texture(ramp(field + 0.5, scaled(colour, 0.3), scaled(colour, 1.7)), _angle(rng), 5 * unit)


def _weave(rng: Generator, cells: int) -> tuple[Array, Array]:
    """One repeat of a weave at ``cells`` px a thread: its shading, and 1 where the warp lies on top."""
    n = int(rng.choice([2, 3, 4, 5]))
    row, column = np.mgrid[0:n, 0:n]
    over = (column + row * (2 if n == 5 else 1)) % n < max(1, n // 2)
    at = (np.arange(cells, dtype=np.float32) + 0.5) / cells - 0.5
    round_, crown = np.cos(np.pi * 0.85 * at), 0.75 + 0.25 * np.cos(np.pi * at)
    warp, weft = crown[:, None] * round_[None, :], round_[:, None] * crown[None, :]
    on_top = np.kron(over, np.ones((cells, cells))).astype(np.float32)
    shade = on_top * np.tile(warp, (n, n)) + (1 - on_top) * np.tile(weft, (n, n))
    return shade.astype(np.float32), on_top


def fabric(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Woven cloth: plain, twill or satin, each thread a little different from the next."""
    angle = float(rng.choice([0.0, math.pi / 2])) + float(rng.normal(0, 0.08))
    pitch = max(2.6, rng.uniform(3, 8) * unit)
    cells = max(4, round(pitch))
    shade, top = _weave(rng, cells)
    # A patch of cloth as wide as the frame's diagonal, turned about the middle; bytes, for speed.
    repeats = int(math.hypot(height, width) / pitch) // (len(shade) // cells) + 2
    repeat = np.round(np.stack([shade, top], 2) * 255).astype(np.uint8)
    cloth = np.asarray(cv2.repeat(repeat, repeats, repeats), np.uint8)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), math.degrees(angle), pitch / cells)
    turn[:, 2] += np.array([width, height]) / 2 - turn @ np.array([len(cloth) / 2, len(cloth) / 2, 1])
    turned = cv2.warpAffine(cloth, turn, (width, height), flags=cv2.INTER_LINEAR)
    shade, top = (plane * np.float32(1 / 255) for plane in cv2.split(turned))
    slub = rng.uniform(0.05, 0.25)
    field = 0.35 + 0.65 * shade
    field *= 1 + slub * noise(rng, height, width, pitch, 25, angle)
    field *= 1 + slub * noise(rng, height, width, pitch, 25, angle + math.pi / 2)
    field += 0.1 * white(rng, height, width) + 0.08 * noise(rng, height, width, 70 * unit)
    weft = choose(rng, (*PAINTS, (0.8, 0.76, 0.66), (0.55, 0.6, 0.7), (0.3, 0.32, 0.4), (0.7, 0.68, 0.64)))
    warp = scaled(weft, rng.uniform(0.8, 1.2)) if rng.random() < 0.7 else choose(rng, PAINTS[4:7])
    image = ramp(top, weft, warp) * spread(0.15 + 0.85 * field)
    return Texture(np.asarray(image, np.float32), angle, pitch)


def wood(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Planed softwood or hardwood: growth rings cut lengthwise, fibres and pores."""
    angle = _angle(rng)
    x, y = coordinates(height, width)
    across = (y - height / 2) * np.float32(math.cos(angle)) - (x - width / 2) * np.float32(math.sin(angle))
    spacing = rng.uniform(6, 30) * unit
    phase = across / np.float32(spacing) + rng.uniform(0.5, 2.5) * noise(
        rng, height, width, 90 * unit, 6, angle
    )
    phase += 0.15 * noise(rng, height, width, 12 * unit, 12, angle)
    ring = phase - np.floor(phase)
    field = rng.uniform(0.15, 0.45) * ring**2 * step(1 - ring, 0.0, 0.12)
    field += 0.16 * noise(rng, height, width, 1.2 * unit, 40, angle)
    pores = step(noise(rng, height, width, 1.3 * unit, 12, angle), 0.45, 0.8)
    field += rng.uniform(0.0, 0.3) * pores + 0.12 * noise(rng, height, width, 80 * unit, 3, angle)
    colour = choose(rng, ((0.85, 0.7, 0.48), (0.72, 0.5, 0.3), (0.5, 0.32, 0.18), (0.9, 0.8, 0.62)))
    return Texture(ramp(field + 0.1, scaled(colour, 1.05), scaled(colour, 0.35)), angle, spacing)


def circuit_board(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Bare solder mask with the glass weave faintly showing; copper is laid on it later."""
    mask = choose(rng, ((0.05, 0.3, 0.14), (0.06, 0.16, 0.42), (0.08, 0.09, 0.1), (0.45, 0.06, 0.07)))
    pitch = 5 * unit
    weave = noise(rng, height, width, pitch, 6, 0) + noise(rng, height, width, pitch, 6, math.pi / 2)
    field = (
        0.5 + 0.06 * weave + 0.05 * white(rng, height, width) + 0.06 * noise(rng, height, width, 90 * unit)
    )
    return Texture(ramp(field, scaled(mask, 0.4), scaled(mask, 1.6)), 0.0, pitch)


def plastic(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Moulded plastic: even colour, spark-eroded grain, soft sheen."""
    grain = noise(rng, height, width, rng.uniform(1.2, 3.5) * unit)
    field = relief(grain, _light(rng), rng.uniform(0.05, 0.45)) + 0.03 * white(rng, height, width)
    field += 0.1 * noise(rng, height, width, 150 * unit)
    colour = choose(rng, PAINTS)
    return Texture(ramp(field + 0.5, scaled(colour, 0.55), scaled(colour, 1.45)), _angle(rng), 4 * unit)


def glass(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Clear pane over something out of focus, with straight reflections."""
    colour = choose(rng, ((0.55, 0.68, 0.68), (0.3, 0.4, 0.45), (0.78, 0.84, 0.85), (0.15, 0.18, 0.2)))
    field = 0.25 * fractal(rng, height, width, 160 * unit, 2) + 0.02 * white(rng, height, width)
    angle = rng.uniform(0, math.pi)
    bands = noise(rng, height, width, rng.uniform(30, 90) * unit, 30, angle)
    field += rng.uniform(0.1, 0.5) * step(bands, 0.15, 0.15 + rng.uniform(0.03, 0.4))
    return Texture(ramp(field + 0.4, scaled(colour, 0.55), scaled(colour, 1.6)), angle, 6 * unit)


def leather(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Pebbled grain: domes around scattered points, divided by creases."""
    pitch = max(3.5, rng.uniform(3.5, 9) * unit)
    seeds = np.full((height, width), 255, np.uint8)
    ys, xs = np.mgrid[0 : height + pitch : pitch, 0 : width + pitch : pitch]
    jitter = rng.uniform(-0.45, 0.45, (2, *xs.shape)) * pitch
    seeds[
        np.clip(ys + jitter[0], 0, height - 1).astype(int), np.clip(xs + jitter[1], 0, width - 1).astype(int)
    ] = 0
    away = np.asarray(cv2.distanceTransform(seeds, cv2.DIST_L2, 3), np.float32) * np.float32(1 / pitch)
    dome = blur(-away * away, 0.6)
    field = relief(dome, _light(rng), rng.uniform(0.3, 1.2)) + np.float32(rng.uniform(0.2, 0.7)) * dome
    field += 0.1 * noise(rng, height, width, 3 * unit) + 0.12 * fractal(rng, height, width, 80 * unit, 3)
    colour = choose(
        rng, ((0.4, 0.26, 0.17), (0.1, 0.09, 0.09), (0.58, 0.46, 0.36), (0.36, 0.13, 0.12), (0.5, 0.5, 0.5))
    )
    return Texture(ramp(field + 0.75, scaled(colour, 0.2), scaled(colour, 1.35)), _angle(rng), pitch)


def painted_sheet(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Lacquered sheet: saturated colour, orange peel, a broad reflection."""
    peel = relief(noise(rng, height, width, 5 * unit), _light(rng), rng.uniform(0.0, 0.25))
    field = peel + 0.02 * white(rng, height, width)
    angle = _angle(rng)
    field += rng.uniform(0.1, 0.4) * noise(rng, height, width, 130 * unit, 4, angle)
    colour = choose(rng, PAINTS)
    return Texture(ramp(field + 0.5, scaled(colour, 0.5), scaled(colour, 1.5)), angle, 6 * unit)


def ceramic_tile(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Glazed tile: speckled like granite, veined like marble, or plain."""
    colour = choose(rng, ((0.85, 0.84, 0.8), (0.6, 0.6, 0.6), (0.75, 0.65, 0.55), (0.5, 0.58, 0.65)))
    field = 0.05 * fractal(rng, height, width, 90 * unit, 3) + 0.03 * white(rng, height, width)
    kind = rng.random()
    if kind < 0.4:
        speckle = blur(fractal(rng, height, width, rng.uniform(3, 8) * unit, 2), 0.7)
        field -= rng.uniform(0.2, 0.5) * step(speckle, 0.15, 0.35) - 0.2 * step(-speckle, 0.25, 0.4)
    elif kind < 0.75:
        vein = np.abs(fractal(rng, height, width, 90 * unit, 4, 0.5, 2, rng.uniform(0, 3)))
        field -= rng.uniform(0.1, 0.3) * np.exp(vein * np.float32(-9))
    return Texture(ramp(field + 0.7, scaled(colour, 0.3), scaled(colour, 1.25)), 0.0, 8 * unit)


def concrete(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Cement: cloudy grey with sand grains."""
    field = 0.14 * fractal(rng, height, width, 90 * unit, 5, 0.6)
    grains = noise(rng, height, width, 1.6 * unit)
    field += 0.12 * relief(grains, _light(rng), 1.0) + 0.06 * white(rng, height, width)
    field -= 0.25 * step(noise(rng, height, width, 3 * unit), 0.6, 0.75)
    colour = choose(rng, ((0.6, 0.6, 0.58), (0.5, 0.5, 0.5), (0.68, 0.64, 0.58)))
    return Texture(ramp(field + 0.5, scaled(colour, 0.4), scaled(colour, 1.6)), _angle(rng), 5 * unit)


def rubber(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Moulded rubber: dark and matt, plain or ribbed."""
    angle, pitch = _angle(rng), rng.uniform(8, 24) * unit
    field = 0.06 * white(rng, height, width) + 0.1 * fractal(rng, height, width, 60 * unit, 3)
    if rng.random() < 0.5:
        x, y = coordinates(height, width)
        across = y * np.float32(math.cos(angle) / pitch) - x * np.float32(math.sin(angle) / pitch)
        field += 0.25 * np.sin(across * np.float32(2 * math.pi))
    colour = choose(rng, ((0.13, 0.13, 0.14), (0.2, 0.19, 0.18), (0.3, 0.14, 0.11)))
    return Texture(ramp(field + 0.5, scaled(colour, 0.3), scaled(colour, 1.7)), angle, pitch)


def cardboard(rng: Generator, height: int, width: int, unit: float) -> Texture:
    """Brown board: pulp fibres and the ghost of the corrugation."""
    angle, pitch = _angle(rng), rng.uniform(8, 16) * unit
    fibre = noise(rng, height, width, 1.2 * unit, 8, angle) + noise(
        rng, height, width, 1.2 * unit, 8, angle + 1.2
    )
    field = 0.14 * fibre + 0.08 * fractal(rng, height, width, 60 * unit, 3)
    x, y = coordinates(height, width)
    across = y * np.float32(math.cos(angle) / pitch) - x * np.float32(math.sin(angle) / pitch)
    field += rng.uniform(0.0, 0.08) * np.sin(across * np.float32(2 * math.pi))
    colour = choose(rng, ((0.68, 0.52, 0.36), (0.76, 0.64, 0.48), (0.88, 0.86, 0.8)))
    return Texture(ramp(field + 0.5, scaled(colour, 0.6), scaled(colour, 1.4)), angle, pitch)


SURFACES: dict[str, Callable[[Generator, int, int, float], Texture]] = {
    "brushed metal": brushed_metal,
    "rolled steel": rolled_steel,
    "cast metal": cast_metal,
    "fabric": fabric,
    "wood": wood,
    "circuit board": circuit_board,
    "plastic": plastic,
    "glass": glass,
    "leather": leather,
    "painted sheet": painted_sheet,
    "ceramic tile": ceramic_tile,
    "concrete": concrete,
    "rubber": rubber,
    "cardboard": cardboard,
}
