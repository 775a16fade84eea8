"""A part made of one material: outline before a backdrop, fixtures, printed marks. No defects here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic.bodies import make_body
from rtvp.data.synthetic.conductors import Conductors, draw_conductors
from rtvp.data.synthetic.fields import (
    Array,
    Colour,
    blur,
    choose,
    fractal,
    mix,
    polygon,
    ramp,
    relief,
    scaled,
    spread,
    step,
)
from rtvp.data.synthetic.fixtures import FASTENED, TEXTILE, Fixture, draw_fixtures
from rtvp.data.synthetic.markings import draw_marks
from rtvp.data.synthetic.surfaces import SURFACES
from rtvp.data.synthetic.weld_bead import Bead

FIXTURED = FASTENED | TEXTILE | {"circuit board"}
SHEETS = frozenset({"fabric", "leather", "cardboard", "rubber", "wood", "glass", "circuit board"})
SOLID = frozenset(
    {
        "brushed metal",
        "rolled steel",
        "cast metal",
        "painted sheet",
        "plastic",
        "ceramic tile",
        "rubber",
        "wood",
    }
)
EMBODIED = 0.6  # of the parts of solid material that have a shape of their own
FLAT_EDGED = 0.4  # of the others that do not fill the frame
MIRRORING = frozenset({"brushed metal", "rolled steel", "painted sheet", "plastic", "glass", "ceramic tile"})
REFLECTING = 0.3  # of the parts of such materials
SPECKLED = 0.1
TABLES = 0.3  # of the backdrops, of a material
NEIGHBOURS = 0.25  # of the backdrops, with another part on them
FLECKS: tuple[Colour, ...] = (
    (0.7, 0.15, 0.12),
    (0.1, 0.1, 0.1),
    (0.9, 0.9, 0.88),
    (0.15, 0.25, 0.6),
    (0.5, 0.3, 0.1),
)
BACKDROPS: tuple[Colour, ...] = ((0.05, 0.05, 0.06), (0.9, 0.9, 0.9), (0.55, 0.55, 0.55), (0.25, 0.27, 0.3))


@dataclass(frozen=True, slots=True)
class Scene:
    """What a defect needs to know of the part it sits on.

    Attributes:
        surface: name of the material.
        image: [H, W, 3] the part without defects.
        bare: [H, W, 3] the same without its fixtures, or None where it has none.
        fixtures: the screws, pads ... of a regular array, any one of which may be missing.
        conductors: the copper lines of a board, None elsewhere.
        region: [H, W] bool, where the material is plain: on the part, off holes and fixtures.
        part: [H, W] opacity of the part, or None where it fills the frame.
        backdrop: [H, W, 3] what lies behind the part, or None where it fills the frame.
        light: unit vector towards the light in the image plane.
        angle: direction of the grain, radians.
        pitch: of the grain, threads or pebbles, px.
        unit: px that a detail of one pixel in a 384 px picture takes.
        ridges: [H, W] bool, where the part has a thread, teeth or ribs, None where it has none.
        threaded: whether these are a thread.
        lettering: [H, W] opacity of letters on the part, None where it has none.
        bead: where the part is welded, None where it is not.
    """

    surface: str
    image: Array
    bare: Array | None
    fixtures: tuple[Fixture, ...]
    conductors: Conductors | None
    region: NDArray[np.bool_]
    part: Array | None
    backdrop: Array | None
    light: tuple[float, float]
    angle: float
    pitch: float
    unit: float
    ridges: NDArray[np.bool_] | None = None
    threaded: bool = False
    lettering: Array | None = None
    bead: Bead | None = None

    @property
    def side(self) -> int:
        """The shorter side of the picture, px: what sizes are measured against."""
        return int(min(self.region.shape))


def _outline(rng: Generator, surface: str, height: int, width: int) -> Array:
    """Opacity of the part: a sheet's edge, a plate, a disc, a ring, a nut or a gear."""
    side = min(height, width)
    centre = np.array([width, height]) / 2 + rng.normal(0, 0.04, 2) * side
    kind = rng.random()
    if (surface in SHEETS and kind < 0.6) or kind < 0.25:
        angle = float(rng.choice([0, 0.5, 1, 1.5])) * math.pi + float(rng.normal(0, 0.1))
        along = np.array([math.cos(angle), math.sin(angle)])
        normal = np.array([-along[1], along[0]])
        reach, inset = 2.0 * (height + width), rng.uniform(0.15, 0.4) * side
        start = centre + inset * normal
        far = reach if rng.random() < 0.7 else -1.5 * inset
        corners = [start - reach * along, start + reach * along]
        end = start - (reach if far == reach else 2 * inset) * normal
        return polygon(height, width, np.array([*corners, end + reach * along, end - reach * along]))
    radius = rng.uniform(0.3, 0.46) * side
    turn = rng.uniform(0, 2 * math.pi)
    angles = np.linspace(0, 2 * math.pi, 240, endpoint=False)
    if kind < 0.55 or surface in SHEETS:
        aspect, power = rng.uniform(0.55, 1.0), float(rng.choice([8.0, 30.0]))
        turn = float(rng.normal(0, 0.15)) if rng.random() < 0.7 else turn
        shape = (np.abs(np.cos(angles)) ** power + np.abs(np.sin(angles) / aspect) ** power) ** (-1 / power)
    elif kind < 0.8:
        aspect = rng.uniform(0.6, 1.0) if rng.random() < 0.4 else 1.0
        shape = 1 / np.sqrt(np.cos(angles) ** 2 + (np.sin(angles) / aspect) ** 2)
    elif kind < 0.9:
        shape = math.cos(math.pi / 6) / np.cos((angles + math.pi / 6) % (math.pi / 3) - math.pi / 6)
    else:
        teeth = int(rng.integers(10, 24))
        shape = 0.93 + 0.07 * np.clip(3 * np.sin(angles * teeth), -1, 1)
    points = centre + (radius * shape)[:, None] * np.stack([np.cos(angles + turn), np.sin(angles + turn)], 1)
    part = polygon(height, width, points)
    if kind > 0.7 and rng.random() < 0.6:
        bore = radius * rng.uniform(0.2, 0.5)
        part -= polygon(height, width, centre + bore * np.stack([np.cos(angles), np.sin(angles)], 1))
    return part


def _behind(rng: Generator, height: int, width: int, light: tuple[float, float], unit: float) -> Array:
    """What a part lies on: a plain backdrop, or a table of any material; now and then beside another part."""
    if rng.random() < TABLES:
        behind = SURFACES[str(rng.choice(list(SURFACES)))](rng, height, width, unit).image
        behind = behind * np.float32(rng.uniform(0.4, 1.0))
    else:
        colour = choose(rng, BACKDROPS)
        mottle = rng.uniform(0.01, 0.12) * fractal(rng, height, width, 60 * unit, 4)
        behind = ramp(mottle + 0.5, scaled(colour, 0.5), scaled(colour, 1.5))
    if rng.random() < NEIGHBOURS:
        material = SURFACES[str(rng.choice(sorted(SOLID)))](rng, height, width, unit).image
        body = make_body(rng, height, width, light)
        angle, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 0.9) * min(height, width)
        shift = np.array([[1, 0, away * math.cos(angle)], [0, 1, away * math.sin(angle)]])
        picture = np.asarray(cv2.warpAffine(body.shape(material), shift, (width, height)), np.float32)
        cover = np.asarray(cv2.warpAffine(body.cover, shift, (width, height)), np.float32)
        behind = mix(np.asarray(behind, np.float32), picture, cover)
    return np.asarray(behind, np.float32)


def _set_on_backdrop(
    rng: Generator, image: Array, part: Array, light: tuple[float, float], unit: float, bevelled: bool
) -> tuple[Array, Array]:
    """The part before a backdrop, its shadow cast: (picture, backdrop with shadow)."""
    height, width = part.shape
    behind = _behind(rng, height, width, light, unit)
    offset = rng.uniform(2, 9) * unit
    shift = np.array([[1, 0, -light[0] * offset], [0, 1, -light[1] * offset]], np.float32)
    shadow = blur(np.asarray(cv2.warpAffine(part, shift, (width, height)), np.float32), 0.6 * offset)
    behind = np.asarray(behind * spread(1 - np.float32(rng.uniform(0.2, 0.7)) * shadow), np.float32)
    if not bevelled:
        return mix(behind, image, part), behind
    bevel = relief(blur(part, rng.uniform(0.8, 3) * unit), light, rng.uniform(0.5, 2.0) * unit)
    return mix(behind, image * spread(1 + np.clip(bevel, -0.6, 0.6)), part), behind


def _speckled(rng: Generator, image: Array) -> Array:
    """The material with flecks all over, as pills, granulates and recycled plastics have them."""
    height, width = image.shape[:2]
    side = min(height, width)
    flecks = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(20, 200))):
        x, y = rng.uniform(0, 1, 2) * (width, height)
        radius = rng.uniform(0.001, 0.007) * side
        cv2.circle(flecks, (round(x * 8), round(y * 8)), round(radius * 8), 255, -1, cv2.LINE_AA, 3)
    return mix(image, choose(rng, FLECKS), flecks * np.float32(rng.uniform(0.4, 0.95) / 255))


def _reflecting(rng: Generator, image: Array, unit: float) -> Array:
    """The material with lamps, windows and dark rooms mirrored in it, their borders more or less sharp."""
    height, width = image.shape[:2]
    angle, stretch = rng.uniform(0, math.pi), rng.uniform(1, 8)
    field = fractal(rng, height, width, rng.uniform(40, 140) * unit, 2, 0.4, stretch, angle)
    border = rng.uniform(0.02, 0.4)
    low, high = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.5)
    bright = np.float32(rng.uniform(0.1, 0.8)) * step(field, low, low + border)
    dark = np.float32(rng.uniform(0.0, 0.6)) * step(-field, high, high + border)
    return np.asarray((image + (1 - image) * spread(bright)) * spread(1 - dark), np.float32)


def make_scene(rng: Generator, surface: str, height: int, width: int) -> Scene:
    """Build one part of the named material that fills, or lies in, a picture of [height, width]."""
    unit = max(0.4, min(height, width) / 384 * float(np.exp(rng.normal(0, 0.3))))
    texture = SURFACES[surface](rng, height, width, unit)
    light_angle = rng.uniform(0, 2 * math.pi)
    light = (math.cos(light_angle), math.sin(light_angle))
    image, part, backdrop, conductors = texture.image, None, None, None
    plain = np.ones((height, width), np.uint8)
    ridges, threaded = None, False
    embodied = surface in SOLID and rng.random() < EMBODIED
    if embodied:
        body = make_body(rng, height, width, light)
        image, threaded = body.shape(image), body.threaded
        ridges = body.ridges if body.ridges.any() else None
        part = body.cover if body.cover.min() < 0.5 else None
        plain = ((body.cover > 0.99) & (body.bores < 0.01)).astype(np.uint8)
    elif rng.random() < FLAT_EDGED:
        part = _outline(rng, surface, height, width)
        plain = (part > 0.99).astype(np.uint8)
    if rng.random() < SPECKLED:
        image = _speckled(rng, image)
    if surface == "circuit board":
        image, conductors = draw_conductors(rng, image, unit)
    if surface in MIRRORING and rng.random() < REFLECTING:
        image = _reflecting(rng, image, unit)
    marked = draw_marks(rng, image, plain, surface, light, unit)
    image = marked.image
    bare: Array | None = None
    fixtures: tuple[Fixture, ...] = ()
    if surface in FIXTURED and rng.random() < 0.4:
        bare, image, fixtures = draw_fixtures(rng, image, plain, surface, light)
    if part is not None:
        image, backdrop = _set_on_backdrop(rng, image, part, light, unit, bevelled=not embodied)
        bare = None if bare is None else mix(backdrop, bare, part)
    return Scene(
        surface=surface,
        image=np.clip(image, 0, 1),
        bare=bare,
        fixtures=fixtures,
        conductors=conductors,
        region=plain.astype(np.bool_),
        part=part,
        backdrop=backdrop,
        light=light,
        angle=texture.angle,
        pitch=texture.pitch,
        unit=unit,
        ridges=ridges,
        threaded=threaded,
        lettering=marked.lettering,
        bead=marked.bead,
    )
