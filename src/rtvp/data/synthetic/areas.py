"""Defects that cover an area: holes, stains, dents, bubbles, rust, peeling."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from rtvp.data.synthetic.boards import copper_pinhole
from rtvp.data.synthetic.fields import (
    Array,
    Colour,
    blur,
    choose,
    fractal,
    luminance,
    mix,
    noise,
    ramp,
    relief,
    scaled,
    soft,
    spread,
    step,
    white,
)
from rtvp.data.synthetic.patch import (
    Mark,
    Patch,
    blob,
    darken,
    dye,
    extent,
    lighten,
    open_patch,
    place,
    shade,
)
from rtvp.data.synthetic.scene import Scene

STAINS: tuple[Colour, ...] = (
    (0.36, 0.2, 0.08),
    (0.75, 0.6, 0.12),
    (0.6, 0.08, 0.08),
    (0.1, 0.15, 0.5),
    (0.12, 0.4, 0.15),
    (0.06, 0.06, 0.06),
    (0.92, 0.92, 0.9),
)


def _area(rng: Generator, scene: Scene, canvas: Array, low: float, high: float) -> tuple[Patch, float]:
    """A patch around a random point, with room for a shape of the returned radius (px)."""
    radius = max(2.2, extent(rng, scene, low, high) / 2)
    return open_patch(canvas, *place(rng, scene), 1.6 * radius + 4), radius


def _shape(rng: Generator, patch: Patch, radius: float) -> Array:
    """Distance to a round, oval or ragged outline."""
    kind = rng.random()
    if kind < 0.35:
        return blob(rng, patch, radius)
    if kind < 0.6:
        return blob(rng, patch, radius, rng.uniform(1.3, 2.2), rng.uniform(0, math.pi), 0.08)
    return blob(rng, patch, radius, rng.uniform(1.0, 1.8), rng.uniform(0, math.pi), rng.uniform(0.3, 0.6))


def hole(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """The material is gone: dark within, the rim lit on the far side, frayed in cloth."""
    patch, radius = _area(rng, scene, canvas, 0.02, 0.16)
    away = _shape(rng, patch, radius)
    if scene.surface == "fabric":
        away += np.float32(0.6 * scene.pitch) * noise(rng, *patch.size, 0.5 * scene.pitch)
    cover = soft(away, 1.2)
    rim = blur(cover, 0.8 + 0.12 * radius)
    lit = shade(patch.before, -relief(rim, scene.light, 0.5 * radius), 0.6)
    depth = scaled((0.5, 0.48, 0.45), rng.uniform(0.04, 0.3))
    floor = ramp(step(away, -1.2 * radius, 0), scaled(depth, 1.4), scaled(depth, 0.4))
    return Mark(patch, mix(lit, floor, cover), cover)


def pinhole(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A tiny round pore, black with a faint bright rim; on a board a hole in its copper."""
    if scene.conductors is not None:
        return copper_pinhole(rng, scene, canvas)
    patch, radius = _area(rng, scene, canvas, 0.008, 0.02)
    away = blob(rng, patch, radius)
    after = lighten(patch.before, 0.25 * soft(np.abs(away - 1), 2.0))
    return Mark(patch, darken(after, rng.uniform(0.7, 0.95) * soft(away, 1.2)), soft(away, 1.5))


def spot(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A small well-defined fleck, darker, brighter or of another colour."""
    patch, radius = _area(rng, scene, canvas, 0.01, 0.06)
    cover = soft(
        blob(rng, patch, radius, rng.uniform(1, 1.3), rng.uniform(0, 3), rng.uniform(0, 0.15)),
        rng.uniform(1, 2.5),
    )
    colour = choose(rng, STAINS)
    return Mark(patch, dye(patch.before, colour, rng.uniform(0.65, 0.95) * cover, 0.3), cover)


def stain(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A dried liquid: uneven tint with a darker edge; the texture shows through."""
    patch, radius = _area(rng, scene, canvas, 0.03, 0.5)
    away = _shape(rng, patch, radius)
    cover = soft(away, rng.uniform(1.5, 0.35 * radius + 2))
    rim = np.exp(-np.abs(away) / np.float32(0.12 * radius + 1)) * cover
    uneven = 0.8 + 0.2 * fractal(rng, *patch.size, 0.7 * radius, 3)
    amount = np.clip(cover * uneven * rng.uniform(0.5, 0.8) + rng.uniform(0, 0.25) * rim, 0, 0.95)
    return Mark(patch, dye(patch.before, choose(rng, STAINS), amount, 0.8), cover)


def oil_stain(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A dark, greasy film with soft edges and wet highlights, often with droplets beside it."""
    patch, radius = _area(rng, scene, canvas, 0.04, 0.5)
    away = blob(
        rng, patch, 0.85 * radius, rng.uniform(1.0, 2.0), rng.uniform(0, math.pi), rng.uniform(0.2, 0.5)
    )
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.normal(0, 0.9 * radius, 2)
        drop = np.sqrt((patch.u - np.float32(x)) ** 2 + (patch.v - np.float32(y)) ** 2)
        away = np.minimum(away, drop - np.float32(radius * rng.uniform(0.05, 0.2)))
    cover = soft(away, rng.uniform(1.5, 0.2 * radius + 2))
    film: Colour = (0.16, 0.12, 0.06) if rng.random() < 0.6 else (0.05, 0.05, 0.05)
    after = dye(patch.before, film, cover * np.float32(rng.uniform(0.55, 0.85)), 1.0)
    gloss = step(
        relief(blur(cover * (1 + 0.3 * noise(rng, *patch.size, radius)), 1.5), scene.light, 6.0), 0.3, 1.2
    )
    return Mark(patch, lighten(after, rng.uniform(0.1, 0.5) * gloss * cover), cover)


def dent(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """The surface pressed in: one side in shadow, the other lit, no colour of its own."""
    patch, radius = _area(rng, scene, canvas, 0.04, 0.36)
    away = blob(rng, patch, radius, rng.uniform(1, 1.8), rng.uniform(0, math.pi), rng.uniform(0, 0.12))
    depth = step(-away, -0.1 * radius, rng.uniform(0.5, 1.0) * radius)
    depth = blur(depth * depth * (3 - 2 * depth), 0.1 * radius)
    slope = -relief(depth, scene.light, rng.uniform(0.3, 0.75) * radius)
    after = shade(patch.before, slope - np.float32(rng.uniform(0.08, 0.2)) * depth, 0.6)
    glint = step(slope, 0.3, 0.7) * np.float32(rng.uniform(0, 0.4))
    return Mark(patch, lighten(after, glint), step(depth, 0.03, 0.15))


def bubble(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A round blister or gas bubble: a dome with a highlight and a thin dark rim."""
    patch, radius = _area(rng, scene, canvas, 0.02, 0.14)
    away = blob(rng, patch, radius, rng.uniform(1, 1.2), rng.uniform(0, math.pi))
    cover = soft(away, 1.5)
    dome = np.sqrt(np.clip(-away / np.float32(radius), 0, 1) * (2 + away / np.float32(radius)).clip(0))
    after = shade(patch.before, relief(blur(dome, 0.06 * radius + 0.4), scene.light, 0.55 * radius))
    after = darken(after, rng.uniform(0.25, 0.6) * soft(np.abs(away), 0.12 * radius + 1.5))
    x, y = (np.float32(c * 0.45 * radius) for c in scene.light)
    glint = np.exp(-((patch.u - x) ** 2 + (patch.v - y) ** 2) / np.float32((0.2 * radius) ** 2 + 0.5))
    return Mark(patch, lighten(after, glint * np.float32(rng.uniform(0.5, 0.95)) + 0.1 * cover), cover)


def rust(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """Patchy orange-brown corrosion, rough to the touch."""
    patch, radius = _area(rng, scene, canvas, 0.04, 1.0)
    away = blob(rng, patch, 0.9 * radius, rng.uniform(1, 1.8), rng.uniform(0, math.pi), 0.5)
    eaten = step(fractal(rng, *patch.size, max(4.0, 0.4 * radius), 4, 0.7), -0.5, 0.1)
    cover = soft(away, 0.15 * radius + 1.5) * eaten
    scale = fractal(rng, *patch.size, 9 * scene.unit, 3, 0.7) + 0.3 * white(rng, *patch.size)
    dark: Colour = (0.2, 0.09, 0.04)
    colour = ramp(np.clip(0.5 + 0.5 * scale, 0, 1), dark, choose(rng, ((0.62, 0.3, 0.1), (0.5, 0.22, 0.08))))
    after = mix(patch.before, colour, rng.uniform(0.75, 0.95) * cover)
    return Mark(patch, shade(after, relief(scale, scene.light, 0.3) * cover), cover)


def discoloration(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A wide, soft change of tone or hue."""
    patch, radius = _area(rng, scene, canvas, 0.12, 0.8)
    away = blob(rng, patch, 0.8 * radius, rng.uniform(1, 2), rng.uniform(0, math.pi), 0.3)
    cover = soft(away, 0.6 * radius)
    if rng.random() < 0.5:
        gain = np.array(
            choose(rng, ((1.25, 0.95, 0.5), (0.6, 0.8, 1.25), (1.2, 0.7, 0.8), (0.75, 1.1, 0.7))), np.float32
        )
    else:
        gain = np.full(3, rng.choice([0.55, 0.65, 1.4]), np.float32)
    after = patch.before * (1 + spread(cover) * (gain - 1))
    return Mark(patch, np.asarray(after, np.float32), step(cover, 0.1, 0.5))


def pitting(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A cluster of many tiny dark pits."""
    patch, radius = _area(rng, scene, canvas, 0.06, 0.7)
    inside = soft(blob(rng, patch, radius, rng.uniform(1, 1.6), rng.uniform(0, math.pi), 0.3), 0.5 * radius)
    size = max(1.3, rng.uniform(1.5, 3.0) * scene.unit)
    pits = step(noise(rng, *patch.size, size) - 0.75 * (1 - inside), 0.2, 0.5)
    after = shade(patch.before, -relief(blur(pits, 0.7), scene.light, 0.8))
    return Mark(patch, darken(after, rng.uniform(0.5, 0.85) * pits), np.minimum(pits, inside * 2))


def crazing(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A net of hairline cracks over an area."""
    patch, radius = _area(rng, scene, canvas, 0.1, 0.9)
    inside = soft(
        blob(rng, patch, 0.9 * radius, rng.uniform(1, 1.6), rng.uniform(0, math.pi), 0.25), 0.3 * radius
    )
    cell = max(5.0, rng.uniform(8, 16) * scene.unit)
    first = np.abs(fractal(rng, *patch.size, cell, 2))
    second = np.abs(fractal(rng, *patch.size, 1.4 * cell, 2))
    net = 1 - step(np.minimum(first, second), 0.03, 0.1)
    amount = inside * net * np.float32(rng.uniform(0.5, 0.85))
    after = darken(patch.before, amount) if rng.random() < 0.75 else lighten(patch.before, amount)
    return Mark(patch, after, net * step(inside, 0.2, 0.6))


def peeling(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """Paint flaked off: an angular patch of bare ground whose edge stands up."""
    patch, radius = _area(rng, scene, canvas, 0.04, 0.7)
    away = blob(rng, patch, radius, rng.uniform(1, 2), rng.uniform(0, math.pi), 0.6)
    away += np.float32(0.12 * radius) * np.sign(noise(rng, *patch.size, 0.3 * radius + 2))
    cover = soft(away, 1.2)
    ground = choose(rng, ((0.72, 0.72, 0.7), (0.5, 0.5, 0.52), (0.6, 0.4, 0.28), (0.85, 0.83, 0.78)))
    if abs(float(np.mean(ground)) - float(patch.before.mean())) < 0.2:
        ground = scaled(ground, 0.35 if np.mean(ground) > 0.4 else 2.2)
    bare = ramp(
        0.5 + 0.2 * fractal(rng, *patch.size, 8 * scene.unit, 3), scaled(ground, 0.6), scaled(ground, 1.4)
    )
    after = mix(patch.before, bare, cover)
    return Mark(patch, shade(after, -relief(blur(cover, 1.0), scene.light, 1.6)), cover)


def fingerprint(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """An oval smudge of fine curved ridges."""
    radius = extent(rng, scene, 0.07, 0.2) / 2
    patch = open_patch(canvas, *place(rng, scene), 1.6 * radius + 4)
    angle = rng.uniform(0, math.pi)
    inside = soft(blob(rng, patch, radius, 1.35, angle, 0.08), 0.35 * radius)
    core = blob(rng, patch, 0.0, 0.75, angle) + np.float32(0.12 * radius) * noise(
        rng, *patch.size, 0.5 * radius
    )
    ridges = step(np.sin(core * np.float32(2 * math.pi / max(3.0, radius / 7))), -0.3, 0.4)
    amount = inside * (0.15 + 0.85 * ridges) * np.float32(rng.uniform(0.25, 0.5))
    bright = float(luminance(patch.before).mean()) < 0.45
    return Mark(patch, lighten(patch.before, amount) if bright else darken(patch.before, amount), inside)


def knot(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """The root of a branch in wood: dark oval rings around a darker heart."""
    patch, radius = _area(rng, scene, canvas, 0.04, 0.2)
    away = blob(rng, patch, radius, rng.uniform(1.1, 1.6), scene.angle + rng.normal(0, 0.2), 0.12)
    cover = soft(away, 0.25 * radius + 1)
    rings = 0.5 + 0.5 * np.sin(away * np.float32(2 * math.pi / max(2.5, 0.16 * radius)))
    heart = step(-away, 0.0, radius)
    amount = cover * (0.35 + 0.2 * rings + 0.4 * heart)
    return Mark(patch, dye(patch.before, (0.2, 0.1, 0.04), amount, 0.7), cover)


def contamination(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """Foreign matter: crumbs that lie on the surface and throw small shadows."""
    patch, radius = _area(rng, scene, canvas, 0.02, 0.14)
    cover = np.zeros(patch.size, np.float32)
    for _ in range(int(rng.integers(1, 7))):
        x, y = (rng.normal(0, 0.4 * radius, 2)).astype(np.float32)
        grain = blob(rng, patch, radius * rng.uniform(0.2, 0.5), rng.uniform(1, 2), rng.uniform(0, 3), 0.5)
        moved = np.roll(grain, (round(float(y)), round(float(x))), (0, 1))
        cover = np.maximum(cover, soft(moved, 1.2))
    fall = (round(-2 * scene.unit * scene.light[1]), round(-2 * scene.unit * scene.light[0]))
    after = darken(patch.before, 0.5 * blur(np.roll(cover, fall, (0, 1)), 1.2))
    matter = choose(rng, STAINS)
    after = mix(
        after, ramp(0.5 + 0.3 * white(rng, *patch.size), scaled(matter, 0.6), scaled(matter, 1.5)), cover
    )
    return Mark(patch, shade(after, relief(blur(cover, 1), scene.light, 1.5)), cover)


def glue(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A clear or milky smear of adhesive: glossy, its rim catching the light."""
    patch, radius = _area(rng, scene, canvas, 0.05, 0.4)
    away = blob(rng, patch, radius, rng.uniform(1, 3), rng.uniform(0, math.pi), rng.uniform(0.1, 0.3))
    cover = soft(away, 1.5)
    thick = step(-away, 0, 0.5 * radius)
    milk: Colour = (0.9, 0.9, 0.86) if rng.random() < 0.7 else (0.75, 0.62, 0.3)
    after = dye(patch.before, milk, cover * np.float32(rng.uniform(0.15, 0.7)), 0.9)
    slope = relief(blur(thick + 0.2 * noise(rng, *patch.size, 0.5 * radius), 1.0), scene.light, 0.4 * radius)
    return Mark(patch, np.asarray(after * spread(1 + cover * np.clip(slope, -0.3, 0.6)), np.float32), cover)


def dirty_mark(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A dull smear that was rubbed in one direction; the texture shows through."""
    patch, radius = _area(rng, scene, canvas, 0.02, 0.25)
    angle = rng.uniform(0, math.pi)
    away = blob(rng, patch, radius, rng.uniform(1, 4), angle, rng.uniform(0.3, 0.6))
    rubbed = 0.6 + 0.4 * noise(rng, *patch.size, 2.5 * scene.unit, 12, angle)
    cover = soft(away, 0.5 * radius + 1)
    dirt = choose(rng, ((0.25, 0.22, 0.18), (0.35, 0.3, 0.25), (0.15, 0.15, 0.15), (0.4, 0.32, 0.2)))
    return Mark(
        patch, dye(patch.before, dirt, cover * rubbed * np.float32(rng.uniform(0.4, 0.8)), 0.9), cover
    )


def inclusion(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """Foreign matter rolled or cast in: a dark or pale fleck drawn out along the grain."""
    patch, radius = _area(rng, scene, canvas, 0.03, 0.4)
    away = blob(
        rng, patch, radius, rng.uniform(2, 9), scene.angle + rng.normal(0, 0.1), rng.uniform(0.2, 0.6)
    )
    patchy = step(fractal(rng, *patch.size, 5 * scene.unit, 3, 0.6, 3, scene.angle), -0.7, 0.1)
    cover = soft(away, 1.5) * patchy
    amount = cover * np.float32(rng.uniform(0.35, 0.85))
    after = darken(patch.before, amount) if rng.random() < 0.7 else lighten(patch.before, amount)
    return Mark(patch, after, cover)
