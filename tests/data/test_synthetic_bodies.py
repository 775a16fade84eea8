"""Bodies: parts with rims, threads and teeth of their own, and what may be wrong with those."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtvp.data.synthetic.bodies import BODIES, Body, from_above, from_the_side, machined
from rtvp.data.synthetic.fixtures import row
from rtvp.data.synthetic.scene import SOLID, Scene, make_scene
from rtvp.data.synthetic.structure import bent_part, worn_area
from rtvp.data.synthetic.surfaces import SURFACES

LIGHT = (0.6, -0.8)


def opacity(body: Body) -> NDArray[np.bool_]:
    return body.cover > 0.5


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(32, 150),
    width=st.integers(32, 150),
    kind=st.integers(0, 2),
)
def test_any_body_is_a_sound_picture(seed: int, height: int, width: int, kind: int) -> None:
    body = BODIES[kind](np.random.default_rng(seed), height, width, LIGHT)
    assert body.cover.shape == body.bores.shape == (height, width)
    assert body.shading.shape == (height, width, 3)
    for field in (body.cover, body.shading, body.bores):
        assert field.dtype == np.float32
        assert np.isfinite(field).all() and field.min() >= 0
    assert max(body.cover.max(), body.bores.max()) <= 1
    shaped = body.shape(np.full((height, width, 3), 0.5, np.float32))
    assert shaped.shape == (height, width, 3) and shaped.min() >= 0 and shaped.max() <= 1


def test_a_bore_is_dark_whatever_the_material() -> None:
    plain = np.ones((4, 4), np.float32)
    bores = np.zeros((4, 4), np.float32)
    bores[1, 2] = 1
    shaped = Body(plain, np.ones((4, 4, 3), np.float32), bores, bores > 0).shape(
        np.full((4, 4, 3), 0.8, np.float32)
    )
    assert np.allclose(shaped[1, 2], 0.06) and np.allclose(shaped[0, 0], 0.8)


@pytest.mark.parametrize("make", [from_above, from_the_side])
def test_turned_parts_lie_in_one_piece_before_a_backdrop(make: type) -> None:
    for seed in range(20):
        body = make(np.random.default_rng(seed), 120, 160, LIGHT)
        pieces, _, stats, _ = cv2.connectedComponentsWithStats(opacity(body).astype(np.uint8))
        assert pieces >= 2
        assert stats[1:, cv2.CC_STAT_AREA].max() > 0.95 * opacity(body).sum()
        assert 0.02 < opacity(body).mean() < 0.95


def test_a_shaft_is_brighter_towards_the_light() -> None:
    towards, away = [], []
    for seed in range(30):
        body = from_the_side(np.random.default_rng(seed), 128, 128, LIGHT)
        ys, xs = np.nonzero(opacity(body))
        side = (xs - xs.mean()) * LIGHT[0] + (ys - ys.mean()) * LIGHT[1]
        tone = body.shading.mean(axis=2)[ys, xs]
        towards.append(tone[side > 0].mean())
        away.append(tone[side < 0].mean())
    assert np.mean(np.array(towards) > np.array(away)) > 0.85


def test_blocks_fill_the_frame_half_of_the_time() -> None:
    filled = [machined(np.random.default_rng(seed), 64, 64, LIGHT).cover.min() > 0.5 for seed in range(80)]
    assert 0.3 < np.mean(filled) < 0.7


def test_bodies_are_of_solid_material() -> None:
    assert set(SURFACES) > SOLID
    assert not SOLID & {"fabric", "leather", "cardboard"}
    bored = [make_scene(np.random.default_rng(seed), "rolled steel", 96, 96).part for seed in range(60)]
    assert 0.4 < np.mean([part is not None for part in bored]) < 0.95


def test_a_row_stands_close_and_on_the_part() -> None:
    plain = np.zeros((120, 200), np.uint8)
    plain[20:100, 30:170] = 1
    found = 0
    for seed in range(30):
        points = np.array(row(np.random.default_rng(seed), plain, 5.0))
        if len(points) < 3:
            continue
        found += 1
        x, y = points.round().astype(int).T
        assert plain[y, x].all()
        nearest = np.hypot(*(points[:, None] - points[None]).T) + 1e9 * np.eye(len(points))
        assert nearest.min(axis=0).max() <= 5 * 3.0
    assert found > 10


def striped(part: NDArray[np.float32] | None = None) -> Scene:
    """A part of upright stripes, 8 px wide."""
    stripes = 0.5 + 0.3 * np.sign(np.sin(np.arange(128) * math.pi / 8 + 0.1))
    image = np.broadcast_to(stripes[None, :, None], (128, 128, 3)).astype(np.float32)
    region = np.ones((128, 128), np.bool_)
    region[:, 64:] = False
    return Scene(
        "plastic", image.copy(), None, (), None, region, part, None, LIGHT, angle=0.0, pitch=6.0, unit=1.0
    )


def test_bent_parts_move_what_is_there_and_add_nothing() -> None:
    scene = striped()
    moved = 0
    for seed in range(20):
        mark = bent_part(np.random.default_rng(seed), scene, scene.image)
        if mark is None:  # beside what is plain
            continue
        change = np.abs(mark.after - mark.patch.before).max(axis=2)
        assert change[mark.cover == 0].max(initial=0) < 0.35  # a soft rim alone
        assert not change[~scene.region[mark.patch.window]].any()
        assert mark.after.min() >= scene.image.min() - 1e-4 and mark.after.max() <= scene.image.max() + 1e-4
        moved += bool((change > 0.3).any())
    assert moved > 14


def test_worn_areas_are_smooth() -> None:
    scene, judged = striped(), 0
    for seed in range(20):
        mark = worn_area(np.random.default_rng(seed), scene, scene.image)
        if mark is None:  # hardly over the border of a stripe
            continue
        worn = mark.cover > 0.95
        if worn.sum() > 150:
            assert mark.after[worn].std() < 0.6 * mark.patch.before[worn].std()
            judged += 1
    assert judged > 3
