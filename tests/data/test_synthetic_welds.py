"""Welds: a bead between two sheets, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from rtvp.data.synthetic import generate, welds
from rtvp.data.synthetic.fields import Array
from rtvp.data.synthetic.patch import Mark
from rtvp.data.synthetic.scene import Scene
from rtvp.data.synthetic.weld_bead import Bead, draw_bead

SIDE = 200
OF_WELDS = frozenset({"weld defect", "porosity", "bad weld", "spatter"})
Painter = Callable[[Generator, Scene, Array], Mark | None]


def welded(seed: int) -> tuple[Scene, Bead]:
    """A grey sheet with a level weld across its middle."""
    ends = np.array([[-10.0, SIDE / 2], [SIDE + 10.0, SIDE / 2]])
    sheet = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    image, bead = draw_bead(np.random.default_rng(seed), sheet, ends, (0.6, -0.8), 1.0)
    scene = Scene(
        surface="rolled steel",
        image=np.clip(image, 0, 1),
        bare=None,
        fixtures=(),
        conductors=None,
        region=np.ones((SIDE, SIDE), np.bool_),
        part=None,
        backdrop=None,
        light=(0.6, -0.8),
        angle=0.0,
        pitch=5.0,
        unit=1.0,
        bead=bead,
    )
    return scene, bead


def rows_of(mark: Mark) -> NDArray[np.float64]:
    """Distances of the pixels of a mark from the middle of the weld, px."""
    rows = np.nonzero(mark.cover > 0.25)[0] + mark.patch.y
    return np.abs(rows - SIDE / 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(32, 160), width=st.integers(32, 160))
def test_any_weld_is_a_sound_picture(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    ends = rng.uniform(-20, 180, (2, 2)) + np.array([[0, 0], [1, 1]])
    picture, bead = draw_bead(rng, np.full((height, width, 3), 0.4, np.float32), ends, (1.0, 0.0), 1.0)
    for each in (picture, bead.without):
        assert each.shape == (height, width, 3) and each.dtype == np.float32
        assert np.isfinite(each).all() and each.min() >= 0
    assert np.hypot(*bead.along) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(6))
def test_a_weld_is_relief_along_its_line_and_heat_beside_it(seed: int) -> None:
    scene, bead = welded(seed)
    changed = np.abs(scene.image - bead.without).max(axis=2).mean(axis=1)  # [rows]
    middle = round(SIDE / 2)
    assert changed[middle - 2 : middle + 2].mean() > 0.03
    far = round(2.5 * bead.half) + 3
    assert changed[: middle - far].max(initial=0) < 1e-3 and changed[middle + far :].max(initial=0) < 1e-3


@pytest.mark.parametrize("paint", [welds.weld_defect, welds.porosity, welds.bad_weld])
@pytest.mark.parametrize("seed", range(6))
def test_defects_of_a_weld_lie_on_it(paint: Painter, seed: int) -> None:
    scene, bead = welded(seed)
    mark = paint(np.random.default_rng(seed), scene, scene.image)
    assert mark is not None
    assert np.median(rows_of(mark)) < 1.2 * bead.half
    assert np.abs(mark.after - mark.patch.before)[mark.cover > 0.5].mean() > 0.02


@pytest.mark.parametrize("seed", range(6))
def test_spatter_lies_beside_the_weld(seed: int) -> None:
    scene, bead = welded(seed)
    marks = [welds.spatter(np.random.default_rng([seed, other]), scene, scene.image) for other in range(8)]
    found = [rows_of(mark) for mark in marks if mark is not None]
    assert found and np.median(np.concatenate(found)) > 1.2 * bead.half


@pytest.mark.parametrize("paint", [welds.weld_defect, welds.porosity, welds.bad_weld, welds.spatter])
def test_without_a_weld_there_is_nothing_to_spoil(paint: Painter) -> None:
    scene = replace(welded(0)[0], bead=None)
    assert paint(np.random.default_rng(0), scene, scene.image) is None
    off = replace(welded(0)[0], region=np.zeros((SIDE, SIDE), np.bool_))
    assert paint(np.random.default_rng(0), off, off.image) is None


def test_generated_pictures_have_them_on_metal_alone() -> None:
    found = {
        (sample.surface, defect.name)
        for sample in (generate(seed, 96, 96, good=False) for seed in range(1200))
        for defect in sample.defects
        if defect.name in OF_WELDS
    }
    assert {name for _, name in found} == OF_WELDS
    assert {surface for surface, _ in found} <= {"brushed metal", "rolled steel", "cast metal"}
