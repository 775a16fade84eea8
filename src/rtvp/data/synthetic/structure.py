"""Defects of a part's make: something missing, askew, broken off its edge, or wired wrong."""

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
from rtvp.data.synthetic.patch import Mark, blob, extent, open_patch, place, shade, stroke, typical, walk
from rtvp.data.synthetic.scene import Scene


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


def bent_part(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """What runs straight or regularly around is pushed aside: teeth, threads, threads of a weave, lines."""
    radius = max(5.0, extent(rng, scene, 0.05, 0.3) / 2)
    patch = open_patch(canvas, *_somewhere(rng, scene), 1.1 * radius)
    away = blob(rng, patch, 0.0, rng.uniform(1, 1.8), rng.uniform(0, math.pi)) / np.float32(radius)
    swell = np.exp(-3 * away * away) * step(-away, -1.0, -0.8)
    if scene.part is None:
        swell = swell * scene.region[patch.window]
    angle, push = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.45) * radius
    height, width = patch.size
    x, y = coordinates(height, width)
    from_x = x - swell * np.float32(push * math.cos(angle))
    from_y = y - swell * np.float32(push * math.sin(angle))
    after = cv2.remap(patch.before, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Mark(patch, np.asarray(after, np.float32), step(swell, 0.05, 0.4))


def worn_area(rng: Generator, scene: Scene, canvas: Array) -> Mark:
    """The relief is rubbed off or filled: smooth where all around is ridged, toothed or textured."""
    radius = max(4.0, extent(rng, scene, 0.04, 0.25) / 2)
    patch = open_patch(canvas, *place(rng, scene), 1.6 * radius)
    away = blob(rng, patch, radius, rng.uniform(1, 2.2), rng.uniform(0, math.pi), rng.uniform(0.1, 0.4))
    cover = soft(away, 0.25 * radius + 1)
    smooth = cv2.GaussianBlur(patch.before, (0, 0), max(2.0, 0.3 * radius))
    grain = spread(1 + np.float32(rng.uniform(0.02, 0.08)) * noise(rng, *patch.size, 2 * scene.unit))
    return Mark(patch, mix(patch.before, np.asarray(smooth * grain, np.float32), cover), cover)


def _along(rng: Generator, line: Array) -> tuple[Array, Array]:
    """A point on the longest piece of a conductor and the unit vector along it."""
    pieces = np.diff(line, axis=0)
    lengths = np.hypot(pieces[:, 0], pieces[:, 1])
    longest = int(lengths.argmax())
    along = pieces[longest] / max(float(lengths[longest]), 1e-3)
    return line[longest] + pieces[longest] * np.float32(rng.uniform(0.15, 0.85)), np.asarray(
        along, np.float32
    )


def _inside(scene: Scene, point: Array) -> bool:
    """Whether a point lies well within the frame and on plain material."""
    height, width = scene.region.shape
    x, y = int(point[0]), int(point[1])
    return 3 <= x < width - 3 and 3 <= y < height - 3 and bool(scene.region[y, x])


def open_circuit(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A conductor interrupted: bare board between two ragged ends."""
    if scene.conductors is None:
        return None
    lines, width = scene.conductors.lines, scene.conductors.width
    point, along = _along(rng, lines[int(rng.integers(len(lines)))])
    if not _inside(scene, point):
        return None
    gap = width * rng.uniform(0.8, 3.0)
    patch = open_patch(canvas, float(point[0]), float(point[1]), gap + 3 * width)
    across, aside = patch.u * along[0] + patch.v * along[1], patch.v * along[0] - patch.u * along[1]
    ends = (
        np.abs(across) - np.float32(gap / 2) + np.float32(0.4 * width) * noise(rng, *patch.size, 0.6 * width)
    )
    cover = np.minimum(soft(ends, 1.2), soft(np.abs(aside) - np.float32(0.5 * width + 1), 1.2))
    beside = np.abs(np.abs(aside) - np.float32(width)) < 0.35 * width
    board = typical(patch.before, beside)
    ground = spread(np.float32(0.03) * noise(rng, *patch.size, 2.0)) + board
    return Mark(patch, mix(patch.before, np.asarray(ground, np.float32), cover), cover)


def short_circuit(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A bridge of conductor across the gap between two neighbours."""
    if scene.conductors is None or len(scene.conductors.lines) < 2:
        return None
    lines, width = scene.conductors.lines, scene.conductors.width
    first = int(rng.integers(len(lines) - 1))
    point, along = _along(rng, lines[first])
    normal = np.array([-along[1], along[0]], np.float32)
    offsets = (lines[first + 1] - point) @ normal
    aside = float(offsets[np.abs(offsets).argmin()])
    reach = abs(aside)
    if not _inside(scene, point) or not 1.5 * width < reach < 6 * width:
        return None
    middle = point + normal * np.float32(aside / 2)
    patch = open_patch(canvas, float(middle[0]), float(middle[1]), reach + width)
    line = walk(rng, reach, math.atan2(normal[1] * aside, normal[0] * aside), 0.5, 0.3, 8)
    pen = rng.uniform(0.4, 1.3) * width * rng.uniform(0.7, 1.3, len(line)).astype(np.float32)
    cover = stroke(patch, line, pen, 0.5)
    after = mix(patch.before, scene.conductors.colour, np.float32(0.92) * cover)
    return Mark(patch, shade(after, relief(blur(cover, 0.7), scene.light, 0.4)), cover)
