"""Defects of welds: pores, gaps, humps, holes burnt through, spatter, beads that are rough throughout."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from rtvp.data.synthetic.fields import Array, blur, fractal, mix, relief, soft, spread, step
from rtvp.data.synthetic.patch import Mark, Patch, blob, darken, lighten, open_patch, shade, typical
from rtvp.data.synthetic.scene import Scene
from rtvp.data.synthetic.weld_bead import Bead

Place = tuple[Bead, tuple[float, float]]


def _on_a_weld(rng: Generator, scene: Scene) -> Place | None:
    """The bead, and a point on its middle on plain material; None where there is none."""
    bead = scene.bead
    if bead is None:
        return None
    height, width = scene.region.shape
    for _ in range(20):
        x, y = bead.start + bead.along * rng.uniform(0, bead.length)
        if 3 <= x < width - 3 and 3 <= y < height - 3 and scene.region[int(y), int(x)]:
            return bead, (float(x), float(y))
    return None


def _across(patch: Patch, bead: Bead) -> tuple[Array, Array]:
    """[h, w] px along and across the bead from the middle of a patch on it."""
    cos, sin = np.float32(bead.along[0]), np.float32(bead.along[1])
    along, aside = patch.u * cos + patch.v * sin, patch.v * cos - patch.u * sin
    return np.asarray(along, np.float32), np.asarray(aside, np.float32)


def weld_defect(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """One place of a weld: a gap, a hump, a hole burnt through, pores."""
    found = _on_a_weld(rng, scene)
    if found is None:
        return None
    make = (_gap, _hump, _burnt_through, _pores)[int(rng.integers(4))]
    return make(rng, scene, canvas, *found)


def porosity(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """Small round dark pits in a weld, one or a group."""
    found = _on_a_weld(rng, scene)
    return None if found is None else _pores(rng, scene, canvas, *found)


def bad_weld(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A long stretch of a weld lumpy and uneven in breadth."""
    found = _on_a_weld(rng, scene)
    if found is None:
        return None
    bead, at = found
    reach = rng.uniform(0.1, 0.35) * scene.side
    patch = open_patch(canvas, *at, max(reach, 3 * bead.half) + 4)
    along, aside = _across(patch, bead)
    lumps = fractal(rng, *patch.size, 1.6 * bead.half, 3, 0.7)
    outline = np.float32(bead.half) * (1.1 + 0.7 * lumps)
    ends = soft(np.abs(along) - np.float32(reach), 0.15 * reach)
    cover = soft(np.abs(aside) - outline, 2.0) * ends
    rough = fractal(rng, *patch.size, max(2.5, 0.6 * bead.half), 3, 0.7)
    metal = np.broadcast_to(typical(patch.before, np.abs(aside) < 0.6 * bead.half), patch.before.shape)
    height_map = blur(cover, 1.5) * (outline + 0.4 * bead.half * rough)
    lit = np.clip(1 + relief(height_map, scene.light, 0.7), 0.5, 1.7)
    return Mark(patch, mix(patch.before, np.asarray(metal * spread(lit), np.float32), cover), cover)


def spatter(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """Little balls of metal scattered beside a weld."""
    found = _on_a_weld(rng, scene)
    if found is None:
        return None
    bead, at = found
    side = float(rng.choice([-1, 1])) * rng.uniform(1.3, 3.5) * bead.half
    x, y = at[0] - bead.along[1] * side, at[1] + bead.along[0] * side
    if not (0 <= x < canvas.shape[1] and 0 <= y < canvas.shape[0]):
        return None
    reach = rng.uniform(0.6, 2.0) * bead.half + 4
    patch = open_patch(canvas, x, y, reach)
    after, cover = patch.before, np.zeros(patch.size, np.float32)
    for _ in range(int(rng.integers(1, 9))):
        dx, dy = rng.normal(0, 0.35 * reach, 2)
        radius = max(1.5, rng.uniform(0.06, 0.2) * bead.half)
        away = np.hypot(patch.u - np.float32(dx), patch.v - np.float32(dy)) - np.float32(radius)
        ball = soft(away, 1.0)
        dome = np.sqrt(np.clip(-away, 0, None)) * ball
        after = shade(darken(after, 0.3 * soft(away - 1.5, 2.0)), relief(blur(dome, 0.6), scene.light, 1.5))
        after = lighten(after, np.float32(rng.uniform(0.1, 0.5)) * soft(away + np.float32(0.6 * radius), 1.0))
        cover = np.maximum(cover, soft(away - 1, 1.0))
    return Mark(patch, after, cover)


def _gap(rng: Generator, scene: Scene, canvas: Array, bead: Bead, at: tuple[float, float]) -> Mark:
    """The bead is interrupted: the joint shows."""
    reach = rng.uniform(0.6, 3.0) * bead.half
    patch = open_patch(canvas, *at, reach + 2 * bead.half + 3)
    along, aside = _across(patch, bead)
    ragged = np.float32(0.4 * bead.half) * fractal(rng, *patch.size, bead.half, 2)
    cover = soft(np.abs(along) - np.float32(reach) + ragged, 2.0)
    cover = np.minimum(cover, soft(np.abs(aside) - np.float32(1.3 * bead.half), 1.5))
    return Mark(patch, mix(patch.before, bead.without[patch.window], cover), cover)


def _hump(rng: Generator, scene: Scene, canvas: Array, bead: Bead, at: tuple[float, float]) -> Mark:
    """Too much metal: a drop that swells over both edges of the bead."""
    radius = rng.uniform(1.2, 2.2) * bead.half
    patch = open_patch(canvas, *at, 2 * radius + 3)
    angle = math.atan2(bead.along[1], bead.along[0])
    away = blob(rng, patch, radius, rng.uniform(1.0, 1.6), angle, 0.2)
    cover = soft(away, 1.5)
    dome = np.sqrt(np.clip(-away, 0, None) * np.float32(radius)) * cover
    dome = dome + np.float32(0.1 * radius) * fractal(rng, *patch.size, max(2.0, 0.4 * radius), 2) * cover
    metal = np.broadcast_to(typical(patch.before, away < 0), patch.before.shape)
    lit = np.clip(1.05 + relief(blur(dome, 0.8), scene.light, 0.9), 0.3, 2)
    return Mark(patch, mix(patch.before, np.asarray(metal * spread(lit), np.float32), cover), cover)


def _burnt_through(rng: Generator, scene: Scene, canvas: Array, bead: Bead, at: tuple[float, float]) -> Mark:
    """A dark hole with a molten rim and scorched metal around it."""
    radius = rng.uniform(0.4, 1.3) * bead.half
    patch = open_patch(canvas, *at, 3 * radius + 4)
    away = blob(rng, patch, radius, rng.uniform(1.0, 1.7), rng.uniform(0, math.pi), 0.35)
    scorched = darken(patch.before, np.float32(0.6) * (1 - step(away, 0.0, 1.2 * radius)))
    rim = lighten(scorched, np.float32(rng.uniform(0.1, 0.4)) * soft(np.abs(away - 1.5) - 1, 1.5))
    after = darken(rim, np.float32(rng.uniform(0.8, 0.97)) * soft(away, 1.5))
    return Mark(patch, after, soft(away - np.float32(0.4 * radius), 2.0))


def _pores(rng: Generator, scene: Scene, canvas: Array, bead: Bead, at: tuple[float, float]) -> Mark:
    """Pits within the bead."""
    patch = open_patch(canvas, *at, 2.2 * bead.half + 4)
    after, cover = patch.before, np.zeros(patch.size, np.float32)
    along, aside = bead.along, np.array([-bead.along[1], bead.along[0]])
    spacing = rng.uniform(0.3, 0.8) * bead.half
    for _ in range(int(rng.choice([1, 1, 2, 3, 5, 8]))):
        dx, dy = along * rng.normal(0, spacing) + aside * rng.uniform(-0.6, 0.6) * bead.half
        radius = max(1.8, rng.uniform(0.1, 0.4) * bead.half)
        away = np.hypot(patch.u - np.float32(dx), patch.v - np.float32(dy)) - np.float32(radius)
        after = lighten(after, np.float32(0.3) * soft(np.abs(away - 1) - 0.5, 1.0))
        after = darken(after, np.float32(rng.uniform(0.75, 0.95)) * soft(away, 1.2))
        cover = np.maximum(cover, soft(away - 1, 1.2))
    return Mark(patch, after, cover)
