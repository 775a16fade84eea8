"""Seeded pictures of materials with named, attributed defects, their exact boxes and masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic import areas, boards, lines, structure, welds
from rtvp.data.synthetic.camera import Camera, set_up_camera, take_as_it_is
from rtvp.data.synthetic.fields import Array, mix
from rtvp.data.synthetic.patch import Mark
from rtvp.data.synthetic.scene import Scene, make_scene
from rtvp.data.synthetic.surfaces import SURFACES
from rtvp.data.synthetic.vocabulary import WORDS
from rtvp.data.synthetic.words import describe
from rtvp.errors import RtvpError

SURFACE_NAMES: tuple[str, ...] = tuple(SURFACES)

VERSION = 4  # of what a seed shows and is called; to be raised by what changes it, as samples are cached
MOST_TRIES = 400  # to paint one defect; only on real pictures can it be in vain
SOFTEST = 0.8  # px, of the blur of a painted defect: more would wash out the smallest
GREY = 6  # grey levels between the channels, up to which a picture has no colours

Painter = Callable[[Generator, Scene, Array], Mark | None]

# Painted on plain material only: cut at holes, fixtures and the part's outline.
ON_SURFACE: dict[str, Painter] = {
    "scratch": lines.scratch,
    "crack": lines.crack,
    "cut": lines.cut,
    "tear": lines.tear,
    "broken thread": lines.broken_thread,
    "loose thread": lines.loose_thread,
    "scuff": lines.scuff,
    "wrinkle": lines.wrinkle,
    "hole": areas.hole,
    "pinhole": areas.pinhole,
    "spot": areas.spot,
    "stain": areas.stain,
    "oil stain": areas.oil_stain,
    "dent": areas.dent,
    "bubble": areas.bubble,
    "rust": areas.rust,
    "discoloration": areas.discoloration,
    "pitting": areas.pitting,
    "crazing": areas.crazing,
    "peeling paint": areas.peeling,
    "fingerprint": areas.fingerprint,
    "knot": areas.knot,
    "contamination": areas.contamination,
    "star crack": lines.star_crack,
    "fuzzy ball": lines.fuzzy_ball,
    "glue": areas.glue,
    "dirty mark": areas.dirty_mark,
    "inclusion": areas.inclusion,
    "worn area": structure.worn_area,
    "weld defect": welds.weld_defect,
    "porosity": welds.porosity,
    "bad weld": welds.bad_weld,
    "spatter": welds.spatter,
}
# They find their own place: at a fixture, a conductor or the outline.
OF_STRUCTURE: dict[str, Painter] = {
    "missing part": structure.missing_part,
    "misaligned part": structure.misaligned_part,
    "bent part": structure.bent_part,
    "chip": structure.chip,
    "burr": structure.burr,
    "damaged thread": structure.damaged_thread,
    "broken teeth": structure.broken_teeth,
    "faulty imprint": structure.faulty_imprint,
    "open circuit": boards.open_circuit,
    "short circuit": boards.short_circuit,
    "mouse bite": boards.mouse_bite,
    "spur": boards.spur,
    "spurious copper": boards.spurious_copper,
    "missing hole": boards.missing_hole,
}
# What a part has to have, for a defect to be painted on it.
NEEDS: dict[str, Callable[[Scene], bool]] = {
    "missing part": lambda scene: bool(scene.fixtures),
    "misaligned part": lambda scene: bool(scene.fixtures),
    "chip": lambda scene: scene.part is not None,
    "burr": lambda scene: scene.part is not None,
    "damaged thread": lambda scene: scene.ridges is not None and scene.threaded,
    "broken teeth": lambda scene: scene.ridges is not None and not scene.threaded,
    "faulty imprint": lambda scene: scene.lettering is not None,
    **dict.fromkeys(("weld defect", "porosity", "bad weld", "spatter"), lambda scene: scene.bead is not None),
    **dict.fromkeys(
        ("open circuit", "short circuit", "mouse bite", "spur", "spurious copper", "missing hole"),
        lambda scene: scene.conductors is not None,
    ),
}
COVERED = 0.25  # opacity from which a pixel belongs to a shape
CHANGED = 0.035  # the least change of a channel, of 1, that counts: nine grey levels
VISIBLE = 0.07  # the least mean change over a defect
SMALLEST = 3  # px, side of a box


@dataclass(frozen=True, slots=True)
class SyntheticDefect:
    """One defect as it is seen.

    Attributes:
        name: one of `DEFECT_NAMES`.
        attributes: adjectives that hold in the picture, in the order they are spoken.
        box_xyxy: tight bounds of the mask, px; right and bottom exclusive.
        mask: [H, W] bool, the pixels that the defect changed.
    """

    name: str
    attributes: tuple[str, ...]
    box_xyxy: tuple[float, float, float, float]
    mask: NDArray[np.bool_]

    @property
    def phrase(self) -> str:
        """Adjectives and name, such as "thin dark scratch"."""
        return " ".join((*self.attributes, self.name))


@dataclass(frozen=True, slots=True)
class SyntheticSample:
    """One picture.

    Attributes:
        image: [H, W, 3] uint8 RGB.
        surface: one of `SURFACE_NAMES`.
        defects: what is wrong; empty for a good part.
    """

    image: NDArray[np.uint8]
    surface: str
    defects: tuple[SyntheticDefect, ...]


def generate(seed: int, height: int = 640, width: int = 640, good: bool | None = None) -> SyntheticSample:
    """Make the picture of a number: the same seed and size always give the same bytes.

    Args:
        seed: at least 0. With ``good=True`` and ``good=False`` it shows the same part under the same light,
            without and with defects.
        height: px, at least 32.
        width: px, at least 32.
        good: True for no defects, False for at least one; None for three good parts in ten.

    Raises:
        RtvpError: for a negative seed or a picture smaller than 32 px.
    """
    if seed < 0 or min(height, width) < 32:
        raise RtvpError(
            f"a synthetic sample needs a seed of at least 0 and sides of at least 32 px, "
            f"not seed {seed}, {width} x {height} px"
        )
    # Three streams of chance, so that defects alter neither the part nor the photograph.
    of_scene, of_defects, of_camera = (np.random.default_rng([seed, stream]) for stream in range(3))
    surface = SURFACE_NAMES[int(of_scene.integers(len(SURFACE_NAMES)))]
    scene = make_scene(of_scene, surface, height, width)
    camera = set_up_camera(of_camera, scene.image)
    drawn_good = bool(of_defects.random() < 0.3)
    if drawn_good if good is None else good:
        return SyntheticSample(camera.photograph(scene.image), surface, ())
    canvas, defects = _spoil(of_defects, scene, camera)
    return SyntheticSample(camera.photograph(canvas), surface, defects)


def paint_on(image: NDArray[np.uint8], plain: NDArray[np.bool_], seed: int) -> SyntheticSample:
    """Paint defects on a real picture: its materials, light and clutter are those that no generator makes.

    Which kinds are painted follows a surface drawn at random, not the one that is shown: what a scratch or a
    stain looks like does not hang on the product.

    Args:
        image: [H, W, 3] RGB.
        plain: [H, W], where defects may be painted: on the picture, off the defects that it shows already.
        seed: at least 0.

    Returns:
        The picture with at least one painted defect, or as it was where there is no room.
    """
    of_scene, of_defects, of_camera = (np.random.default_rng([seed, stream]) for stream in range(3))
    height, width = plain.shape
    surface = SURFACE_NAMES[int(of_scene.integers(len(SURFACE_NAMES)))]
    base = image.astype(np.float32) / np.float32(255)
    turn = float(of_scene.uniform(0, 2 * np.pi))
    unit = max(0.4, min(height, width) / 384 * float(np.exp(of_scene.normal(0, 0.3))))
    scene = Scene(
        surface=surface,
        image=base,
        bare=None,
        fixtures=(),
        conductors=None,
        region=plain,
        part=None,
        backdrop=None,
        light=(float(np.cos(turn)), float(np.sin(turn))),
        angle=float(of_scene.uniform(0, np.pi)),
        pitch=float(of_scene.uniform(3, 9)) * unit,
        unit=unit,
    )
    grey = bool(np.ptp(image[::4, ::4].astype(np.int16), axis=2).max() < GREY)
    if plain.mean() < 0.05:
        return SyntheticSample(image, surface, ())
    canvas, defects = _spoil(of_defects, scene, take_as_it_is(base, grey))
    # As sharp as the lens that took the picture: nobody knows, so anything from crisp to soft.
    change = canvas - base
    softness = float(of_camera.uniform(0, SOFTEST))
    if softness > 0.3:
        change = np.asarray(cv2.GaussianBlur(change, (0, 0), softness), np.float32)
    painted = take_as_it_is(base, grey).photograph(np.clip(base + change, 0, 1))
    return SyntheticSample(painted, surface, defects)


def _spoil(rng: Generator, scene: Scene, camera: Camera) -> tuple[Array, tuple[SyntheticDefect, ...]]:
    """Paint one to six defects that do not touch each other; often all of one kind, as in real rejects."""
    names = [name for name, word in WORDS.items() if scene.surface in word.surfaces]
    names = [name for name in names if name not in NEEDS or NEEDS[name](scene)]
    # Names that occur on few surfaces are drawn more often on those.
    weights = np.array([(2.0 if n in NEEDS else 1.0) / len(WORDS[n].surfaces) ** 0.75 for n in names])
    weights /= weights.sum()
    wanted = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.34, 0.25, 0.17, 0.11, 0.08, 0.05]))
    alike = str(rng.choice(names, p=weights)) if rng.random() < 0.4 else None
    canvas = scene.image.copy()
    taken = np.zeros(scene.region.shape, np.bool_)
    defects: list[SyntheticDefect] = []
    tries = 0
    while (tries < 4 * wanted and len(defects) < wanted) or (not defects and tries < MOST_TRIES):
        tries += 1
        name = alike if alike and tries < 4 * wanted else str(rng.choice(names, p=weights))
        mark = (ON_SURFACE.get(name) or OF_STRUCTURE[name])(rng, scene, canvas)
        defect = _apply(name, mark, scene, canvas, taken, camera) if mark else None
        if defect:
            defects.append(defect)
    return canvas, tuple(defects)


def _apply(
    name: str, mark: Mark, scene: Scene, canvas: Array, taken: NDArray[np.bool_], camera: Camera
) -> SyntheticDefect | None:
    """Lay a mark on the canvas and measure it; None, and nothing laid, where it would not be seen well."""
    window = mark.patch.window
    before, after, cover = mark.patch.before, mark.after, mark.cover
    if name in ON_SURFACE:
        plain = scene.region[window].astype(np.float32)
        if float((cover * plain).sum()) < 0.7 * float(cover.sum()):
            return None
        after, cover = mix(before, after, plain), cover * plain
    after = np.clip(after, 0, 1)
    seen_before, seen = camera.expose(before, window), camera.expose(after, window)
    red, green, blue = cv2.split(cv2.absdiff(seen, seen_before))
    difference = np.maximum(np.maximum(red, green), blue)
    shape = cover > COVERED
    mask = shape & (difference > CHANGED)
    count = int(mask.sum())
    if count < max(SMALLEST**2 // 2, 0.4 * shape.sum()) or difference[mask].mean() < VISIBLE:
        return None
    near = np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)), np.bool_)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if taken[window][near].any() or min(y1 - y0, x1 - x0) < SMALLEST:
        return None
    canvas[window] = after
    taken[window] |= mask
    full = np.zeros(taken.shape, np.bool_)
    full[window] = mask
    inner = (slice(y0, y1), slice(x0, x1))
    attributes = describe(
        WORDS[name].adjectives, mask[inner], seen_before[inner], seen[inner], scene.side, camera.grey
    )
    x, y = mark.patch.x, mark.patch.y
    return SyntheticDefect(
        name, attributes, (float(x + x0), float(y + y0), float(x + x1), float(y + y1)), full
    )
