"""The generator of synthetic pictures: its labels must be exact, or a model learns what is not there."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtvp.data.synthetic import (
    DEFECT_NAMES,
    DESCRIPTIONS,
    SURFACE_NAMES,
    SyntheticDefect,
    SyntheticSample,
    generate,
    paint_on,
)
from rtvp.data.synthetic.vocabulary import WORDS
from rtvp.data.synthetic.words import colour_word
from rtvp.errors import RtvpError

SIDE = 128


@pytest.fixture(scope="module")
def samples() -> list[SyntheticSample]:
    return [generate(seed, SIDE, SIDE, good=False) for seed in range(360)]


@pytest.fixture(scope="module")
def twins() -> list[tuple[SyntheticSample, NDArray[np.float32]]]:
    """Spoiled samples, each with how much brighter every pixel is than in the same part without defects."""
    pairs = []
    for seed in range(110):
        spoiled, clean = generate(seed, 192, 192, good=False), generate(seed, 192, 192, good=True)
        difference = spoiled.image.astype(np.float32) - clean.image.astype(np.float32)
        pairs.append((spoiled, difference))
    return pairs


def every_defect(samples: list[SyntheticSample]) -> Iterator[SyntheticDefect]:
    return (defect for sample in samples for defect in sample.defects)


def assert_sound(sample: SyntheticSample, height: int, width: int) -> None:
    assert sample.image.shape == (height, width, 3)
    assert sample.image.dtype == np.uint8
    for defect in sample.defects:
        assert defect.mask.shape == (height, width)
        assert defect.mask.dtype == np.bool_
        ys, xs = np.nonzero(defect.mask)
        assert defect.box_xyxy == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        x1, y1, x2, y2 = defect.box_xyxy
        assert min(x2 - x1, y2 - y1) >= 3


def test_same_seed_gives_identical_bytes() -> None:
    for seed in range(12):
        first, second = generate(seed, 96, 128), generate(seed, 96, 128)
        assert first.image.tobytes() == second.image.tobytes()
        assert first.surface == second.surface
        assert [(d.phrase, d.box_xyxy, d.mask.tobytes()) for d in first.defects] == [
            (d.phrase, d.box_xyxy, d.mask.tobytes()) for d in second.defects
        ]


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = generate(3, 64, 64)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert generate(3, 64, 64).image.tobytes() == first.image.tobytes()


def test_seeds_differ() -> None:
    assert len({generate(seed, 64, 64).image.tobytes() for seed in range(40)}) == 40


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), height=st.integers(32, 200), width=st.integers(32, 200))
def test_any_size_has_tight_boxes_and_sound_masks(seed: int, height: int, width: int) -> None:
    sample = generate(seed, height, width, good=False)
    assert 1 <= len(sample.defects) <= 6
    assert_sound(sample, height, width)


def test_boxes_are_tight_and_masks_do_not_overlap(samples: list[SyntheticSample]) -> None:
    for sample in samples:
        assert_sound(sample, SIDE, SIDE)
        assert np.sum([defect.mask for defect in sample.defects], axis=0).max() == 1


def test_good_samples_have_no_defects_and_make_up_three_in_ten() -> None:
    assert not any(generate(seed, 64, 64, good=True).defects for seed in range(30))
    drawn = [not generate(seed, 32, 32).defects for seed in range(250)]
    assert 0.22 < np.mean(drawn) < 0.38


def test_every_name_and_surface_is_reached_in_plausible_pairs(samples: list[SyntheticSample]) -> None:
    assert {sample.surface for sample in samples} == set(SURFACE_NAMES)
    assert {defect.name for defect in every_defect(samples)} == set(DEFECT_NAMES)
    for sample in samples:
        assert all(sample.surface in WORDS[defect.name].surfaces for defect in sample.defects)


def test_vocabulary_is_whole() -> None:
    assert len(DEFECT_NAMES) >= 16
    assert set(DESCRIPTIONS) == set(DEFECT_NAMES)
    for word in WORDS.values():
        assert word.descriptions
        assert word.surfaces
        assert set(word.surfaces) <= set(SURFACE_NAMES)


def test_phrase_speaks_attributes_then_name() -> None:
    mask = np.ones((4, 4), np.bool_)
    assert SyntheticDefect("scratch", ("thin", "dark"), (0, 0, 4, 4), mask).phrase == "thin dark scratch"
    assert SyntheticDefect("tear", (), (0, 0, 4, 4), mask).phrase == "tear"


def test_masked_pixels_are_changed_and_others_are_not(
    twins: list[tuple[SyntheticSample, NDArray[np.float32]]],
) -> None:
    for sample, difference in twins:
        change = np.abs(difference).max(axis=2)
        near = np.zeros(change.shape, np.uint8)
        for defect in sample.defects:
            # Lens blur and noise may hide the change of a few pixels at the edge of a shape.
            assert np.mean(change[defect.mask] >= 2) > 0.75
            assert change[defect.mask].mean() > 8
            x1, y1, x2, y2 = (int(v) for v in defect.box_xyxy)
            margin = 8 + max(x2 - x1, y2 - y1) // 2
            near[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin] = 1
        assert change[near == 0].max(initial=0) <= 12


def test_dark_and_bright_hold(twins: list[tuple[SyntheticSample, NDArray[np.float32]]]) -> None:
    signs = {"dark": -1, "bright": 1}
    seen = dict.fromkeys(signs, 0)
    for sample, difference in twins:
        for defect in sample.defects:
            for word, sign in signs.items():
                if word in defect.attributes:
                    assert sign * difference[defect.mask].mean() > 4
                    seen[word] += 1
    assert min(seen.values()) > 15


def test_sizes_and_shapes_hold(samples: list[SyntheticSample]) -> None:
    said = set()
    for defect in every_defect(samples):
        x1, y1, x2, y2 = defect.box_xyxy
        width, height, diagonal = x2 - x1, y2 - y1, float(np.hypot(x2 - x1, y2 - y1))
        thickness = defect.mask.sum() / diagonal
        holds = {
            "small": max(width, height) <= 0.06 * SIDE,
            "large": max(width, height) >= 0.3 * SIDE,
            "short": diagonal <= 0.12 * SIDE,
            "long": diagonal >= 0.35 * SIDE,
            "thin": thickness <= 0.05 * diagonal,
            "wide": thickness >= 0.03 * SIDE or thickness >= 0.15 * diagonal,
            "round": 0.7 <= width / height <= 1.4 and defect.mask.sum() > 0.55 * width * height,
        }
        for word in defect.attributes:
            assert holds.get(word, True), defect.phrase
        said.update(defect.attributes)
        assert not {"small", "large"} <= set(defect.attributes)
    assert {"small", "large", "short", "long", "thin", "wide", "round", "irregular", "dark", "bright"} <= said
    assert {"red", "brown", "blue"} <= said


def test_coloured_words_are_not_said_of_grey_pictures(samples: list[SyntheticSample]) -> None:
    colours = {"red", "orange", "brown", "yellow", "green", "blue", "purple"}
    grey = [sample for sample in samples if (np.ptp(sample.image, axis=2) == 0).all()]
    assert 0.15 < len(grey) / len(samples) < 0.35
    assert not any(colours & set(defect.attributes) for defect in every_defect(grey))


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((0.8, 0.1, 0.1), "red"),
        ((0.1, 0.2, 0.7), "blue"),
        ((0.15, 0.5, 0.15), "green"),
        ((0.9, 0.8, 0.1), "yellow"),
        ((0.4, 0.22, 0.08), "brown"),
        ((0.5, 0.5, 0.52), None),
        ((0.05, 0.02, 0.02), None),
    ],
)
def test_colours_are_named_as_people_do(rgb: tuple[float, float, float], word: str | None) -> None:
    assert colour_word(np.array(rgb)) == word


def test_loose_threads_never_lie_on_metal() -> None:
    for name in ("loose thread", "broken thread", "tear"):
        assert not any("metal" in surface or "steel" in surface for surface in WORDS[name].surfaces)


def test_defects_come_small_and_large(samples: list[SyntheticSample]) -> None:
    sides = np.array(
        [max(d.box_xyxy[2] - d.box_xyxy[0], d.box_xyxy[3] - d.box_xyxy[1]) for d in every_defect(samples)]
    )
    assert np.mean(sides < 0.06 * SIDE) > 0.1
    assert np.mean(sides > 0.25 * SIDE) > 0.1


def test_pictures_are_neither_black_nor_burnt_out(samples: list[SyntheticSample]) -> None:
    means = np.array([cv2.mean(sample.image)[:3] for sample in samples]).mean(axis=1)
    assert np.percentile(means, 2) > 15
    assert np.percentile(means, 98) < 235


@pytest.mark.parametrize(("seed", "height", "width"), [(-1, 64, 64), (0, 31, 64), (0, 64, 0)])
def test_impossible_requests_are_refused_in_one_line(seed: int, height: int, width: int) -> None:
    with pytest.raises(RtvpError, match="synthetic sample") as caught:
        generate(seed, height, width)
    assert "\n" not in str(caught.value)


def test_painting_changes_a_real_picture_in_the_boxes_of_its_defects_alone() -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(60, 200, (160, 200, 3), dtype=np.uint8), (0, 0), 3)
    plain = np.ones((160, 200), np.bool_)
    plain[:, :100] = False
    painted = 0
    for seed in range(12):
        made = paint_on(picture, plain, seed)
        difference = np.abs(made.image.astype(int) - picture).max(axis=2)
        changed = difference > 25
        for defect in made.defects:
            x1, y1, x2, y2 = defect.box_xyxy
            assert difference[int(y1) : int(y2), int(x1) : int(x2)].max() > 8
            changed[max(0, int(y1) - 4) : int(y2) + 5, max(0, int(x1) - 4) : int(x2) + 5] = False
            assert defect.mask[plain].sum() >= 0.7 * defect.mask.sum()
        painted += len(made.defects)
        assert changed.mean() < 0.01  # soft rims may reach a little further than the box
        again = paint_on(picture, plain, seed)
        assert np.array_equal(made.image, again.image)
    assert painted > 12


def test_a_picture_without_room_stays_as_it_is() -> None:
    picture = np.full((64, 64, 3), 120, np.uint8)
    made = paint_on(picture, np.zeros((64, 64), np.bool_), 1)
    assert made.defects == () and np.array_equal(made.image, picture)


def test_a_picture_without_colours_gets_none() -> None:
    picture = np.repeat(np.random.default_rng(1).integers(80, 160, (128, 128, 1), dtype=np.uint8), 3, axis=2)
    for seed in range(6):
        made = paint_on(picture, np.ones((128, 128), np.bool_), seed)
        assert np.ptp(made.image, axis=2).max() == 0
