"""Defects drawn with a pen: scratches, cracks, cuts, threads."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from rtvp.data.synthetic.fields import Array, blur, mix, noise, relief, scaled, soft, spread, step
from rtvp.data.synthetic.patch import (
    Mark,
    blob,
    darken,
    extent,
    lighten,
    open_patch,
    place,
    shade,
    stroke,
    typical,
    walk,
)
from rtvp.data.synthetic.scene import Scene


def _taper(points: int, width: float, sharpness: float = 0.5) -> Array:
    """Widths along a line: ``width`` in the middle, nothing at the ends."""
    along = np.linspace(0, math.pi, points, dtype=np.float32)
    return np.asarray(width * np.maximum(np.sin(along), 0) ** np.float32(sharpness), np.float32)


def scratch(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A groove that shows bare, bright material or catches shadow; sometimes a few side by side."""
    length = extent(rng, scene, 0.05, 1.0)
    width = max(1.3, scene.unit * (rng.uniform(1.2, 2.2) if rng.random() < 0.75 else rng.uniform(3, 6)))
    width = max(1.3, min(width, 0.06 * length))
    patch = open_patch(canvas, *place(rng, scene), 0.55 * length + 4 * width)
    angle, bend = rng.uniform(0, math.pi), float(rng.choice([0.05, 0.2, 0.7]))
    line = walk(rng, length, angle, bend)
    pen = _taper(len(line), width, rng.uniform(0.2, 0.8))
    cover = stroke(patch, line, pen, 0.45)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.2 else 0):
        aside = rng.normal(0, 2.5 * width, 2) + rng.normal(0, 0.1, 2) * length
        cover = np.maximum(
            cover,
            stroke(patch, line * np.float32(rng.uniform(0.3, 0.9)) + aside.astype(np.float32), pen, 0.45),
        )
    broken = 1 - rng.uniform(0.0, 0.5) * step(noise(rng, *patch.size, 6 * scene.unit), 0.1, 0.6)
    amount = cover * broken
    strength = rng.uniform(0.35, 0.85)
    after = (
        lighten(patch.before, strength * amount)
        if rng.random() < 0.6
        else darken(patch.before, strength * amount)
    )
    return Mark(patch, shade(after, relief(cover, scene.light, 0.5)), cover)


def _arrow(length: float, angle: float) -> Array:
    """The vector (x, y) of a length in a direction."""
    return np.array([length * math.cos(angle), length * math.sin(angle)], np.float32)


def _fracture(rng: Generator, start: Array, end: Array, detail: float) -> Array:
    """A broken line [N, 2] from ``start`` to ``end``: midpoints thrown aside down to ``detail`` px."""
    line = np.stack([start, end])
    for _ in range(max(2, round(math.log2(max(2.0, float(np.hypot(*(end - start))) / detail))))):
        pieces = np.diff(line, axis=0)
        aside = np.stack([-pieces[:, 1], pieces[:, 0]], 1) * rng.normal(0, 0.2, (len(pieces), 1))
        finer = np.empty((2 * len(line) - 1, 2), np.float32)
        finer[::2], finer[1::2] = line, line[:-1] + pieces * rng.uniform(0.35, 0.65) + aside
        line = finer
    return line


def crack(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A dark jagged line that narrows to its ends and forks."""
    length = extent(rng, scene, 0.07, 1.0)
    width = max(1.4, min(scene.unit * rng.uniform(1.2, 3.0) * (1 + length / scene.side), 0.05 * length))
    if rng.random() < 0.15:  # it gapes
        width *= rng.uniform(1.5, 4.0)
    patch = open_patch(canvas, *place(rng, scene), 0.65 * length + 4 * width)
    angle = rng.uniform(0, math.pi)
    half = _arrow(length / 2, angle)
    line = _fracture(rng, -half, half, 3 * scene.unit)
    pen = _taper(len(line), width) * rng.uniform(0.7, 1.3, len(line)).astype(np.float32)
    cover = stroke(patch, line, pen, 0.4)
    for _ in range(int(rng.integers(0, 4))):
        joint = line[int(rng.integers(len(line)))]
        turned = angle + float(rng.choice([-1.0, 1.0])) * rng.uniform(0.4, 1.1)
        reach = np.array([math.cos(turned), math.sin(turned)], np.float32) * np.float32(
            length * rng.uniform(0.1, 0.35)
        )
        branch = _fracture(rng, joint, joint + reach, 3 * scene.unit)
        narrowing = np.linspace(0.7 * width, 0.3 * width, len(branch), dtype=np.float32)
        cover = np.maximum(cover, stroke(patch, branch, narrowing, 0.4))
    after = darken(patch.before, np.float32(rng.uniform(0.6, 0.95)) * cover)
    return Mark(patch, shade(after, -relief(blur(cover, 1.0), scene.light, 0.4)), cover)


def _opening(rng: Generator, scene: Scene, canvas: Array, width: float, bend: float, jag: float) -> Mark:
    """A slit that gapes in the middle: dark within, its lips catching the light."""
    length = extent(rng, scene, 0.06, 0.45)
    width = max(2.0, length * width)
    patch = open_patch(canvas, *place(rng, scene), 0.6 * length + 3 * width)
    count = max(12, int(length / (2.5 * scene.unit)))
    line = walk(rng, length, rng.uniform(0, math.pi), bend, jag, count)
    pen = _taper(count, width, 0.8)
    if jag > 0:
        pen *= 1 + 0.35 * rng.uniform(-1, 1, count).astype(np.float32)
    cover = stroke(patch, line, pen, 0.5)
    lips = blur(cover, 0.8 + 0.25 * width)
    lit = shade(patch.before, -relief(lips, scene.light, 1.2 * width), 0.5)
    inside = scaled((0.5, 0.45, 0.4), rng.uniform(0.05, 0.25))
    return Mark(
        patch, mix(lit, inside, rng.uniform(0.8, 0.97) * cover), np.maximum(cover, step(lips, 0.3, 0.6))
    )


def cut(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A straight slit with sharp edges."""
    return _opening(rng, scene, canvas, rng.uniform(0.03, 0.08), 0.15, 0.0)


def tear(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A ragged gap; in cloth, torn threads hang across it."""
    mark = _opening(rng, scene, canvas, rng.uniform(0.12, 0.3), 0.8, 0.35)
    if scene.surface != "fabric":
        return mark
    fibres = np.zeros_like(mark.cover)
    length = max(4.0, 0.16 * max(mark.patch.size))
    ys, xs = np.nonzero((mark.cover > 0.3) & (mark.cover < 0.9))
    for at in rng.integers(0, len(xs), min(len(xs), 24)):
        start = np.array([xs[at] + mark.patch.u[0, 0], ys[at] + mark.patch.v[0, 0]], np.float32)
        fibre = walk(rng, length * rng.uniform(0.3, 1), rng.uniform(0, 2 * math.pi), 1.0, 0.0, 6)
        fibres = np.maximum(fibres, stroke(mark.patch, fibre + start, max(0.7, 0.25 * scene.pitch), 0.3))
    colour = typical(mark.patch.before) * np.float32(1.25)
    after = mix(mark.after, np.broadcast_to(colour, mark.after.shape), 0.85 * fibres)
    return Mark(mark.patch, after, np.maximum(mark.cover, fibres))


def broken_thread(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """One thread of the weave gone: a straight gap along the grain, with curled ends."""
    length = extent(rng, scene, 0.06, 0.6)
    width = max(1.6, scene.pitch * rng.uniform(0.7, 1.5))
    patch = open_patch(canvas, *place(rng, scene), 0.55 * length + 4 * width)
    angle = scene.angle + float(rng.choice([0.0, math.pi / 2]))
    line = walk(rng, length, angle, 0.02, 0.03, 40)
    cover = stroke(patch, line, width, 0.4)
    strength = rng.uniform(0.45, 0.8)
    amount = cover * (1 - 0.4 * step(noise(rng, *patch.size, scene.pitch), 0, 0.7))
    after = (
        darken(patch.before, strength * amount)
        if rng.random() < 0.65
        else lighten(patch.before, 0.7 * strength * amount)
    )
    for end, outward in ((line[0], math.pi), (line[-1], 0.0)):
        curl = walk(rng, rng.uniform(1, 4) * width, angle + outward + rng.normal(0, 0.7), 2.0, 0.0, 12)
        fluff = stroke(patch, curl - curl[0] + end, max(1.0, 0.4 * width), 0.4)
        after = lighten(after, np.float32(0.35) * fluff)
        cover = np.maximum(cover, fluff)
    return Mark(patch, after, cover)


def loose_thread(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A curling thread that lies on the cloth and throws a shadow."""
    length = extent(rng, scene, 0.12, 0.8)
    width = max(1.4, min(rng.uniform(0.4, 0.9) * min(scene.pitch, 5 * scene.unit), 0.03 * length))
    patch = open_patch(canvas, *place(rng, scene), 0.6 * length + 4 * width)
    line = walk(rng, length, rng.uniform(0, math.pi), rng.uniform(1.5, 4.0), 0.0, 60)
    cover = stroke(patch, line, width, 0.4)
    fall = np.array([-scene.light[0], -scene.light[1]], np.float32) * np.float32(0.9 * width)
    shadow = stroke(patch, line + fall, 1.2 * width, 0.5 * width)
    colour = typical(patch.before)
    if rng.random() < 0.4:
        tone = float(rng.choice([0.1, 0.9]))
    else:
        tone = float(np.clip(colour.mean() + rng.choice([-0.35, 0.4]), 0.08, 0.95))
    colour = np.clip(colour * 0.4 + 0.6 * tone, 0, 1)
    twist = 1 + 0.25 * np.sin((patch.u + patch.v) * np.float32(2.2 / width))
    thread = np.asarray(colour * spread(np.ascontiguousarray(twist, np.float32)), np.float32)
    after = mix(darken(patch.before, 0.45 * shadow), thread, cover)
    return Mark(patch, shade(after, relief(cover, scene.light, 0.6)), cover)


def scuff(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A rubbed patch: many fine scratches in one direction."""
    radius = extent(rng, scene, 0.03, 0.18)
    patch = open_patch(canvas, *place(rng, scene), 1.5 * radius)
    angle = rng.uniform(0, math.pi)
    inside = soft(
        blob(rng, patch, radius, rng.uniform(1, 2.2), angle + rng.normal(0, 0.3), 0.35), 0.6 * radius
    )
    marks = step(noise(rng, *patch.size, 1.3 * scene.unit, 22, angle), -0.1, 0.5)
    marks = np.maximum(marks, 0.7 * step(noise(rng, *patch.size, 3 * scene.unit, 16, angle), 0.1, 0.5))
    amount = inside * (0.12 + 0.7 * marks) * np.float32(rng.uniform(0.4, 0.75))
    after = lighten(patch.before, amount) if rng.random() < 0.7 else darken(patch.before, amount)
    return Mark(patch, after, inside)


def wrinkle(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """Soft folds that run more or less side by side."""
    length = extent(rng, scene, 0.12, 0.8)
    width = length * rng.uniform(0.025, 0.07)
    patch = open_patch(canvas, *place(rng, scene), 0.6 * length + 4 * width)
    angle = rng.uniform(0, math.pi)
    aside = _arrow(3.5 * width, angle + math.pi / 2)
    count = int(rng.integers(1, 4))
    folds, cover = np.zeros(patch.size, np.float32), np.zeros(patch.size, np.float32)
    for number in range(count):
        line = walk(rng, length * rng.uniform(0.6, 1), angle + rng.normal(0, 0.12), 0.7, 0.0, 24)
        pen = _taper(len(line), width * rng.uniform(0.7, 1.2))
        ridge = stroke(patch, line + aside * np.float32(number - (count - 1) / 2), pen, 0.8 * width)
        folds, cover = folds + ridge, np.maximum(cover, ridge)
    across = (-math.sin(angle), math.cos(angle))
    light = (
        across if across[0] * scene.light[0] + across[1] * scene.light[1] > 0 else (-across[0], -across[1])
    )
    slope = relief(folds, light, rng.uniform(0.8, 1.8) * width)
    return Mark(patch, shade(patch.before, slope - np.float32(0.12) * cover, 0.5), step(cover, 0.05, 0.4))


def star_crack(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """Cracks that run from one point in all directions, as from a blow."""
    length = extent(rng, scene, 0.05, 0.5)
    width = max(1.3, scene.unit * rng.uniform(1.0, 2.2))
    patch = open_patch(canvas, *place(rng, scene), length + 4 * width)
    count, start = int(rng.integers(4, 9)), rng.uniform(0, 2 * math.pi)
    cover = np.zeros(patch.size, np.float32)
    for number in range(count):
        angle = start + 2 * math.pi * (number + rng.uniform(-0.3, 0.3)) / count
        ray = _fracture(
            rng, np.zeros(2, np.float32), _arrow(length * rng.uniform(0.4, 1), angle), 3 * scene.unit
        )
        pen = np.linspace(width, 0.4 * width, len(ray), dtype=np.float32)
        cover = np.maximum(cover, stroke(patch, ray, pen, 0.4))
    amount = cover * np.float32(rng.uniform(0.5, 0.95))
    after = darken(patch.before, amount) if rng.random() < 0.7 else lighten(patch.before, amount)
    return Mark(patch, after, cover)


def fuzzy_ball(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """A tangle of fibres that stands out of the cloth."""
    radius = extent(rng, scene, 0.02, 0.12) / 2 + 3
    patch = open_patch(canvas, *place(rng, scene), 1.6 * radius)
    cover = np.zeros(patch.size, np.float32)
    for _ in range(int(rng.integers(6, 16))):
        line = walk(rng, radius * rng.uniform(1, 3), rng.uniform(0, 2 * math.pi), 4.0, 0.3, 20)
        aside = rng.normal(0, 0.25 * radius, 2).astype(np.float32)
        cover = np.maximum(cover, stroke(patch, line + aside, max(0.9, 0.3 * scene.pitch), 0.4))
    colour = np.clip(typical(patch.before) + np.float32(rng.choice([-0.3, 0.25, 0.4])), 0.05, 0.95)
    fluff = blur(cover, 0.3 * radius) * np.float32(0.5)
    after = mix(patch.before, np.broadcast_to(colour, patch.before.shape), np.maximum(cover, fluff) * 0.85)
    return Mark(patch, shade(after, relief(cover, scene.light, 0.6)), cover)
