"""Boards: copper where it belongs, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic import boards
from rtvp.data.synthetic.conductors import Conductors, draw_conductors
from rtvp.data.synthetic.fields import Array
from rtvp.data.synthetic.patch import Mark
from rtvp.data.synthetic.scene import Scene
from rtvp.data.synthetic.surfaces import SURFACES

SIDE = 160
Painter = Callable[[Generator, Scene, Array], Mark | None]


def plain_board(*rows: float, breadth: float = 12.0) -> Scene:
    """Level lines of white copper at these rows of a black board."""
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    copper = np.zeros((SIDE, SIDE), np.float32)
    lines = []
    for row in rows:
        low, high = round(row - breadth / 2), round(row + breadth / 2)
        copper[low:high] = 1
        lines.append(np.array([[-10, row], [SIDE + 10, row]], np.float32))
    image[copper > 0] = 1
    return Scene(
        surface="circuit board",
        image=image,
        bare=None,
        fixtures=(),
        conductors=Conductors(
            tuple(lines), (breadth,) * len(rows), (1.0, 1.0, 1.0), np.zeros((0, 3), np.float32), copper
        ),
        region=np.ones((SIDE, SIDE), np.bool_),
        part=None,
        backdrop=None,
        light=(1.0, 0.0),
        angle=0.0,
        pitch=5.0,
        unit=1.0,
    )


def painted(paint: Painter, scene: Scene, seed: int) -> tuple[Mark | None, NDArray[np.float32]]:
    """The mark and how bright every pixel is with it."""
    mark = paint(np.random.default_rng(seed), scene, scene.image)
    canvas = scene.image.copy()
    if mark:
        canvas[mark.patch.window] = mark.after
    return mark, canvas.mean(axis=2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(32, 200), width=st.integers(32, 200))
def test_any_board_is_sound(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    laminate = SURFACES["circuit board"](rng, height, width, 1.0).image
    picture, copper = draw_conductors(rng, laminate, 1.0)
    assert picture.shape == (height, width, 3) and picture.dtype == np.float32 and np.isfinite(picture).all()
    assert copper.copper.shape == (height, width)
    assert copper.copper.min() >= 0 and copper.copper.max() <= 1
    assert len(copper.lines) == len(copper.breadths)
    assert copper.holes.shape[1:] == (3,)


def test_drilled_holes_are_open() -> None:
    drilled = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        _, copper = draw_conductors(rng, np.full((200, 200, 3), 0.3, np.float32), 1.0)
        for x, y, _ in copper.holes:
            if 1 <= x < 199 and 1 <= y < 199:
                drilled.append(copper.copper[int(y), int(x)] < 0.5)
    assert len(drilled) > 100 and np.mean(drilled) > 0.9  # a few lie under copper that was laid later


def test_copper_can_be_told_from_the_board() -> None:
    apart = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        picture, copper = draw_conductors(rng, SURFACES["circuit board"](rng, 200, 200, 1.0).image, 1.0)
        on, off = copper.copper > 0.99, copper.copper < 0.01
        apart.append(float(np.abs(np.median(picture[on], axis=0) - np.median(picture[off], axis=0)).max()))
    assert min(apart) > 0.03
    assert np.mean(np.array(apart) > 0.5) > 0.2  # bare copper, films


@pytest.mark.parametrize("seed", range(8))
def test_an_open_circuit_parts_a_line(seed: int) -> None:
    scene = plain_board(80.0)
    mark, bright = painted(boards.open_circuit, scene, seed)
    assert mark is not None
    assert (bright[74:86] < 0.5).all(axis=0).any()  # a column where nothing conducts
    assert np.array_equal(bright[:70], scene.image.mean(axis=2)[:70])


@pytest.mark.parametrize("seed", range(8))
def test_a_short_circuit_joins_two_lines(seed: int) -> None:
    scene = plain_board(60.0, 100.0)
    mark, bright = painted(boards.short_circuit, scene, seed)
    assert mark is not None
    count, _ = cv2.connectedComponents((bright > 0.5).astype(np.uint8))
    assert count == 2  # the board, and one piece of copper instead of two


@pytest.mark.parametrize("seed", range(8))
def test_bites_take_copper_away_and_spurs_add_it(seed: int) -> None:
    scene = plain_board(80.0, breadth=20.0)
    before = scene.image.mean(axis=2)
    _, bitten = painted(boards.mouse_bite, scene, seed)
    _, spurred = painted(boards.spur, scene, seed)
    assert (bitten < before).any() and (bitten - before).max() < 0.2
    assert (bitten[68:92] > 0.5).any(axis=0).all()  # the line still conducts
    assert (spurred > before).any() and (spurred >= before - 0.1).all()


@pytest.mark.parametrize("seed", range(8))
def test_pinholes_of_boards_lie_within_copper(seed: int) -> None:
    scene = plain_board(20.0, breadth=8.0)
    assert scene.conductors is not None
    scene.image[60:120], scene.conductors.copper[60:120] = 1, 1  # a filled area
    mark, bright = painted(boards.copper_pinhole, scene, seed)
    assert mark is not None
    holes = bright < 0.5
    assert holes[60:120].any() and (bright[60:120] > 0.5).mean() > 0.9
    assert np.array_equal(bright[:60], scene.image.mean(axis=2)[:60])
    assert painted(boards.copper_pinhole, plain_board(breadth=1.0), seed)[0] is None


def test_a_hole_that_was_not_drilled_is_copper() -> None:
    scene = plain_board(80.0, breadth=30.0)
    assert scene.conductors is not None
    assert painted(boards.missing_hole, scene, 0)[0] is None
    holes = np.array([[70.0, 80.0, 6.0]], np.float32)
    image, copper = scene.image.copy(), scene.conductors.copper.copy()
    cv2.circle(copper, (70, 80), 6, 0.0, -1)
    image[copper == 0] = 0
    drilled = replace(scene.conductors, holes=holes, copper=copper)
    _, bright = painted(boards.missing_hole, replace(scene, image=image, conductors=drilled), 0)
    assert bright[80, 70] > 0.9 and image[80, 70].max() == 0
