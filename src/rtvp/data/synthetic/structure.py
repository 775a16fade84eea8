"""Defects of a part's make: something missing, askew, bent, worn, broken off its edge, or printed wrong."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from rtvp.data.synthetic.fields import (
    Array,
    blur,
    coordinates,
    fractal,
    mix,
    noise,
    relief,
    soft,
    spread,
    step,
)
from rtvp.data.synthetic.patch import Mark, blob, extent, open_patch, place, typical
from rtvp.data.synthetic.scene import Scene

COARSE = 0.03  # the least mean change, of 1, that is left when a mark is seen through a soft lens


def missing_part(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """One element of an array is not there: its empty seat shows."""
    if scene.bare is None or not scene.fixtures:
        return None
    fixture = scene.fixtures[int(rng.integers(len(scene.fixtures)))]
    patch = open_patch(canvas, fixture.x, fixture.y, 1.3 * fixture.radius)
    cover = soft(blob(rng, patch, 1.15 * fixture.radius), 1.5)
    return Mark(patch, mix(patch.before, scene.bare[patch.window], cover), cover)


def misaligned_part(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """One element of an array sits out of line and askew."""
    if scene.bare is None or not scene.fixtures:
        return None
    fixture = scene.fixtures[int(rng.integers(len(scene.fixtures)))]
    patch = open_patch(canvas, fixture.x, fixture.y, 2.2 * fixture.radius)
    element = soft(blob(rng, patch, 1.1 * fixture.radius), 1.5)
    middle = (float(-patch.u[0, 0]), float(-patch.v[0, 0]))
    angle, turn = rng.uniform(0, 2 * math.pi), float(rng.choice([-1, 1])) * rng.uniform(20, 60)
    move = np.asarray(cv2.getRotationMatrix2D(middle, turn, 1.0), np.float64)
    move[:, 2] += rng.uniform(0.5, 0.9) * fixture.radius * np.array([math.cos(angle), math.sin(angle)])
    size = patch.size[::-1]
    picture = np.asarray(cv2.warpAffine(patch.before, move, size), np.float32)
    moved = np.asarray(cv2.warpAffine(element, move, size), np.float32)
    after = mix(mix(patch.before, scene.bare[patch.window], element), picture, moved)
    return Mark(patch, after, np.maximum(element, moved))


def _edge_point(rng: Generator, scene: Scene) -> tuple[float, float] | None:
    """A point on the part's outline, away from the frame."""
    if scene.part is None:
        return None
    outlines, _ = cv2.findContours((scene.part > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    points = np.concatenate([line.reshape(-1, 2) for line in outlines]) if outlines else np.zeros((0, 2))
    limit = np.array(scene.part.shape[::-1]) - 4
    points = points[(points > 3).all(1) & (points < limit).all(1)]
    if not len(points):
        return None
    x, y = points[int(rng.integers(len(points)))]
    return float(x), float(y)


def chip(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A piece broken out of the edge: the backdrop shows, and a rough fracture face."""
    at = _edge_point(rng, scene)
    if at is None or scene.part is None or scene.backdrop is None:
        return None
    radius = max(3.0, extent(rng, scene, 0.03, 0.14) / 2)
    patch = open_patch(canvas, *at, 1.7 * radius)
    part = scene.part[patch.window]
    away = blob(rng, patch, radius, rng.uniform(1, 1.8), rng.uniform(0, math.pi), 0.35)
    cover, gone = soft(away, 1.2) * part, soft(away + np.float32(0.25 * radius), 1.2) * part
    grain = fractal(rng, *patch.size, 4 * scene.unit, 2)
    tone = typical(patch.before, part > 0.9)
    face = np.asarray(tone * spread(np.float32(rng.choice([0.55, 1.5])) * (1 + 0.2 * grain)), np.float32)
    return Mark(patch, mix(mix(patch.before, face, cover), scene.backdrop[patch.window], gone), cover)


def burr(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """Ragged metal or flash that sticks out over the edge, catching the light."""
    at = _edge_point(rng, scene)
    if at is None or scene.part is None:
        return None
    radius = max(5.0, extent(rng, scene, 0.04, 0.25) / 2)
    patch = open_patch(canvas, *at, 1.3 * radius)
    part = scene.part[patch.window]
    inside = (part > 0.5).astype(np.uint8)
    outward = np.asarray(cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3), np.float32)
    ragged = fractal(rng, *patch.size, 6 * scene.unit, 3, 0.7)
    swell = 1 - step(blob(rng, patch, 0.0), 0.5 * radius, radius)
    height = np.float32(max(4.0, rng.uniform(0.25, 0.5) * radius))
    cover = soft(outward - swell * height * (1 + ragged), 1.2) * (1 - part)
    tone = typical(patch.before, inside > 0)
    shine = np.clip(1.25 + 0.5 * ragged + relief(blur(cover, 1), scene.light, 2.0), 0.5, 2.2)
    return Mark(patch, mix(patch.before, np.asarray(tone * spread(shine), np.float32), cover), cover)


def _somewhere(rng: Generator, scene: Scene) -> tuple[float, float]:
    """On the part, or half of the time on its outline where it has one."""
    at = _edge_point(rng, scene) if rng.random() < 0.5 else None
    return at or place(rng, scene)


def _bend(rng: Generator, scene: Scene, canvas: Array, at: tuple[float, float], radius: float) -> Mark | None:
    """What lies around a point is pushed aside."""
    patch = open_patch(canvas, *at, 1.1 * radius)
    away = blob(rng, patch, 0.0, rng.uniform(1, 1.8), rng.uniform(0, math.pi)) / np.float32(radius)
    swell = np.exp(-3 * away * away) * step(-away, -1.0, -0.8)
    if scene.part is None:
        swell = swell * scene.region[patch.window]
    angle, push = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.45) * radius
    x, y = coordinates(*patch.size)
    from_x = x - swell * np.float32(push * math.cos(angle))
    from_y = y - swell * np.float32(push * math.sin(angle))
    after = cv2.remap(patch.before, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _if_it_shows(Mark(patch, np.asarray(after, np.float32), step(swell, 0.05, 0.4)))


def _wear(rng: Generator, scene: Scene, canvas: Array, at: tuple[float, float], radius: float) -> Mark | None:
    """What lies around a point is rubbed smooth."""
    patch = open_patch(canvas, *at, 1.6 * radius)
    away = blob(rng, patch, radius, rng.uniform(1, 2.2), rng.uniform(0, math.pi), rng.uniform(0.1, 0.4))
    cover = soft(away, 0.25 * radius + 1)
    smooth = cv2.GaussianBlur(patch.before, (0, 0), max(2.0, 0.3 * radius))
    grain = spread(1 + np.float32(rng.uniform(0.02, 0.08)) * noise(rng, *patch.size, 2 * scene.unit))
    return _if_it_shows(Mark(patch, mix(patch.before, np.asarray(smooth * grain, np.float32), cover), cover))


def _if_it_shows(mark: Mark) -> Mark | None:
    """The mark, unless all that it changes is so fine that a lens would not show it."""
    change = np.abs(cv2.GaussianBlur(mark.after - mark.patch.before, (0, 0), 1.2)).max(axis=2)
    inside = mark.cover > 0.25
    return mark if inside.any() and change[inside].mean() > COARSE else None


def bent_part(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """What runs straight or regularly around is pushed aside: teeth, threads of a weave, lines."""
    radius = max(5.0, extent(rng, scene, 0.05, 0.3) / 2)
    return _bend(rng, scene, canvas, _somewhere(rng, scene), radius)


def worn_area(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """The relief is rubbed off or filled: smooth where all around is ridged, toothed or textured."""
    radius = max(4.0, extent(rng, scene, 0.04, 0.25) / 2)
    return _wear(rng, scene, canvas, place(rng, scene), radius)


def _spoilt_ridges(rng: Generator, scene: Scene, canvas: Array, threaded: bool) -> Mark | None:
    if scene.ridges is None or scene.threaded != threaded:
        return None
    rows, columns = np.nonzero(scene.ridges)
    if not len(rows):
        return None
    chosen = int(rng.integers(len(rows)))
    at, radius = (float(columns[chosen]), float(rows[chosen])), max(4.0, extent(rng, scene, 0.04, 0.16) / 2)
    return (_bend if rng.random() < 0.5 else _wear)(rng, scene, canvas, at, radius)


def damaged_thread(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """Crests of a thread bent or worn."""
    return _spoilt_ridges(rng, scene, canvas, threaded=True)


def broken_teeth(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """Teeth of a ring or a rack bent or worn."""
    return _spoilt_ridges(rng, scene, canvas, threaded=False)


def faulty_imprint(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """Letters partly gone, or printed twice."""
    if scene.lettering is None:
        return None
    rows, columns = np.nonzero(scene.lettering > 0.5)
    if len(rows) < 9:
        return None
    chosen = int(rng.integers(len(rows)))
    height = float(np.ptp(rows)) + 1
    reach = height * rng.uniform(0.8, 3.0)
    patch = open_patch(canvas, float(columns[chosen]), float(rows[chosen]), 1.5 * reach + 4)
    letters = scene.lettering[patch.window]
    inside = soft(blob(rng, patch, reach, rng.uniform(1, 2), rng.uniform(0, math.pi), 0.2), 2.0)
    if rng.random() < 0.6:
        cover = np.minimum(inside, np.asarray(cv2.dilate(letters, np.ones((3, 3), np.uint8)), np.float32))
        bare = typical(patch.before, letters < 0.02)
        return Mark(patch, mix(patch.before, np.broadcast_to(bare, patch.before.shape), cover), cover)
    angle, away = rng.uniform(0, 2 * math.pi), height * rng.uniform(0.15, 0.5)
    shift = np.array([[1, 0, away * math.cos(angle)], [0, 1, away * math.sin(angle)]])
    twice = np.asarray(cv2.warpAffine(letters, shift, letters.shape[::-1]), np.float32) * inside
    ink = typical(patch.before, letters > 0.5)
    return Mark(patch, mix(patch.before, np.broadcast_to(ink, patch.before.shape), twice), twice)
