"""Defects of conductors: interrupted, joined, bitten, with copper where none belongs."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from rtvp.data.synthetic.fields import Array, blur, mix, noise, relief, soft, spread
from rtvp.data.synthetic.patch import Mark, Patch, blob, open_patch, place, shade, stroke, typical, walk
from rtvp.data.synthetic.scene import Scene


def _along(rng: Generator, line: Array) -> tuple[Array, Array]:
    """A point on the longest piece of a conductor and the unit vector along it."""
    pieces = np.diff(line, axis=0)
    lengths = np.hypot(pieces[:, 0], pieces[:, 1])
    longest = int(lengths.argmax())
    along = pieces[longest] / max(float(lengths[longest]), 1e-3)
    return line[longest] + pieces[longest] * np.float32(rng.uniform(0.15, 0.85)), np.asarray(
        along, np.float32
    )


def _line(rng: Generator, scene: Scene) -> tuple[Array, float]:
    """A conductor of the board, and its breadth."""
    assert scene.conductors is not None
    chosen = int(rng.integers(len(scene.conductors.lines)))
    return scene.conductors.lines[chosen], scene.conductors.breadths[chosen]


def _inside(scene: Scene, point: Array) -> bool:
    """Whether a point lies well within the frame and on plain material."""
    height, width = scene.region.shape
    x, y = int(point[0]), int(point[1])
    return 3 <= x < width - 3 and 3 <= y < height - 3 and bool(scene.region[y, x])


def _ground(rng: Generator, patch: Patch, aside: Array, width: float) -> Array:
    """Bare board, as it is beside the conductor; ``aside`` is the distance to its middle line, px."""
    board = typical(patch.before, np.abs(np.abs(aside) - np.float32(width)) < 0.35 * width)
    return np.asarray(spread(np.float32(0.03) * noise(rng, *patch.size, 2.0)) + board, np.float32)


def open_circuit(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A conductor interrupted: bare board between two ragged ends."""
    if scene.conductors is None or not scene.conductors.lines:
        return None
    line, width = _line(rng, scene)
    point, along = _along(rng, line)
    if not _inside(scene, point):
        return None
    gap = width * rng.uniform(0.8, 3.0)
    patch = open_patch(canvas, float(point[0]), float(point[1]), gap + 3 * width)
    across, aside = patch.u * along[0] + patch.v * along[1], patch.v * along[0] - patch.u * along[1]
    ends = (
        np.abs(across) - np.float32(gap / 2) + np.float32(0.4 * width) * noise(rng, *patch.size, 0.6 * width)
    )
    cover = np.minimum(soft(ends, 1.2), soft(np.abs(aside) - np.float32(0.5 * width + 1), 1.2))
    return Mark(patch, mix(patch.before, _ground(rng, patch, aside, width), cover), cover)


def short_circuit(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A bridge of conductor across the gap between two neighbours."""
    if scene.conductors is None or len(scene.conductors.lines) < 2:
        return None
    lines = scene.conductors.lines
    first = int(rng.integers(len(lines) - 1))
    width = scene.conductors.breadths[first]
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


def _at_the_edge(rng: Generator, scene: Scene, canvas: Array) -> tuple[Patch, Array, float, float] | None:
    """A patch about a point on a conductor's edge, px from its middle line [h, w], its breadth, the edge."""
    if scene.conductors is None or not scene.conductors.lines:
        return None
    line, width = _line(rng, scene)
    point, along = _along(rng, line)
    side = float(rng.choice([-1, 1]))
    edge = point + np.array([-along[1], along[0]], np.float32) * np.float32(side * width / 2)
    if not _inside(scene, edge):
        return None
    patch = open_patch(canvas, float(edge[0]), float(edge[1]), 2.5 * width + 4)
    aside = patch.v * along[0] - patch.u * along[1] + np.float32(side * width / 2)
    return patch, np.asarray(aside, np.float32), width, side


def mouse_bite(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A notch in the edge of a conductor, where board shows."""
    found = _at_the_edge(rng, scene, canvas)
    if found is None:
        return None
    patch, aside, width, _ = found
    reach = max(2.5, 0.008 * scene.side, rng.uniform(0.3, 0.6) * width)
    bite = blob(rng, patch, reach, rng.uniform(1, 1.6), rng.uniform(0, math.pi), 0.3)
    cover = np.minimum(soft(bite, 1.2), soft(np.abs(aside) - np.float32(0.5 * width + 1), 1.2))
    return Mark(patch, mix(patch.before, _ground(rng, patch, aside, width), cover), cover)


def spur(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A tongue of copper that sticks out of the edge of a conductor."""
    found = _at_the_edge(rng, scene, canvas)
    if found is None or scene.conductors is None:
        return None
    patch, aside, width, side = found
    reach = max(3.0, 0.01 * scene.side, rng.uniform(0.4, 1.0) * width)
    tongue = blob(rng, patch, reach, rng.uniform(1, 2), rng.uniform(0, math.pi), 0.3)
    cover = np.minimum(soft(tongue, 1.2), soft(np.float32(0.5 * width) - aside * np.float32(side), 1.2))
    return Mark(patch, mix(patch.before, scene.conductors.colour, np.float32(0.92) * cover), cover)


def spurious_copper(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A patch of copper on open board."""
    if scene.conductors is None:
        return None
    radius = _speck(rng, scene)
    patch = open_patch(canvas, *place(rng, scene), 1.7 * radius + 2)
    cover = soft(blob(rng, patch, radius, rng.uniform(1, 2), rng.uniform(0, math.pi), 0.4), 1.2)
    return Mark(patch, mix(patch.before, scene.conductors.colour, np.float32(0.92) * cover), cover)


def copper_pinhole(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A small hole in wide copper, where board shows."""
    if scene.conductors is None:
        return None
    radius = _speck(rng, scene)
    inner = cv2.erode(scene.conductors.copper, np.ones((2 * math.ceil(radius) + 1,) * 2, np.uint8))
    rows, columns = np.nonzero((inner > 0.99) & scene.region)
    board = (scene.conductors.copper < 0.01) & scene.region
    if not len(rows) or not board.any():
        return None
    chosen = int(rng.integers(len(rows)))
    patch = open_patch(canvas, float(columns[chosen]), float(rows[chosen]), 1.7 * radius + 2)
    cover = soft(blob(rng, patch, radius, rng.uniform(1, 2), rng.uniform(0, math.pi), 0.3), 1.2)
    ground = np.broadcast_to(typical(scene.image, board), patch.before.shape)
    return Mark(patch, mix(patch.before, ground, cover), cover)


def _speck(rng: Generator, scene: Scene) -> float:
    """Radius of a speck of copper or of board, px: of the size of a line, but never tiny."""
    assert scene.conductors is not None
    typical = float(np.median(scene.conductors.breadths)) if scene.conductors.breadths else 4 * scene.unit
    return max(3.0, 0.008 * scene.side, typical * rng.uniform(0.4, 1.4))


def missing_hole(rng: Generator, scene: Scene, canvas: Array) -> Mark | None:
    """A land that was not drilled: copper where its hole should be."""
    if scene.conductors is None or not len(scene.conductors.holes):
        return None
    holes = scene.conductors.holes
    x, y, radius = holes[int(rng.integers(len(holes)))].tolist()
    if not _inside(scene, np.array([x, y], np.float32)):
        return None
    patch = open_patch(canvas, x, y, radius + 3)
    cover = soft(blob(rng, patch, radius + 0.5), 1.2)
    return Mark(patch, mix(patch.before, scene.conductors.colour, np.float32(0.92) * cover), cover)
