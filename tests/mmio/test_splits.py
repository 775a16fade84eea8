from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.errors import RtvpError
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.mmio.splits import split_by_group

BOX = (0.0, 0.0, 5.0, 5.0)


def record(index: int, names: tuple[str, ...], group: str) -> ImageRecord:
    return ImageRecord(Path(f"{index:04}.png"), 10, 10, tuple(Annotation(name, BOX) for name in names), group)


@st.composite
def image_sets(draw: st.DrawFn) -> list[ImageRecord]:
    names = st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple)
    rows = draw(st.lists(st.tuples(names, st.integers(0, 12)), max_size=60))
    return [record(index, names, f"g{group}") for index, (names, group) in enumerate(rows)]


@given(image_sets(), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.5]))
@settings(max_examples=60, deadline=None)
def test_a_split_keeps_every_image_once_and_no_group_on_both_sides(
    images: list[ImageRecord], seed: int, share: float
) -> None:
    train, validation = split_by_group(images, share, seed)
    assert sorted([*train, *validation], key=lambda image: image.path) == images
    assert not {image.group for image in train} & {image.group for image in validation}


@given(image_sets(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_images_does_not_matter(images: list[ImageRecord], rng: random.Random) -> None:
    shuffled = list(images)
    rng.shuffle(shuffled)
    assert split_by_group(shuffled) == split_by_group(images)


@given(
    st.dictionaries(st.sampled_from(["", "a", "b", "c"]), st.integers(2, 80), min_size=1), st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_each_category_and_the_good_images_keep_their_share(sizes: dict[str, int], seed: int) -> None:
    rows = [(name,) if name else () for name, size in sorted(sizes.items()) for _ in range(size)]
    images = [record(index, names, str(index)) for index, names in enumerate(rows)]
    _, validation = split_by_group(images, 0.2, seed)
    held = Counter(image.annotations[0].name if image.annotations else "" for image in validation)
    for name, size in sizes.items():
        assert held[name] == pytest.approx(max(0.2 * size, 1), abs=0.5)


def test_shares_hold_where_images_show_several_categories_and_groups_differ_in_size() -> None:
    rng = random.Random(3)
    weights = {"rare": 0.04, "some": 0.3, "common": 0.8}
    images = []
    for index in range(600):
        names = tuple(name for name, chance in weights.items() if rng.random() < chance)
        images.append(record(index, names, f"g{rng.randrange(150)}"))
    _, validation = split_by_group(images)
    for name in ("rare", "some", "common", None):
        shows = [(name in {a.name for a in i.annotations}) if name else not i.annotations for i in images]
        held = sum(shows[int(image.path.stem)] for image in validation)
        assert 0.15 <= held / sum(shows) <= 0.27, name


def test_a_category_with_one_group_is_trained_on_and_with_two_is_on_both_sides() -> None:
    images = [record(0, ("single",), "g0"), record(1, ("single",), "g0")]
    images += [record(2 + index, ("pair",), f"p{index // 10}") for index in range(20)]
    train, validation = split_by_group(images)
    assert {image.group for image in train} >= {"g0"}
    assert len({image.group for image in validation}) == 1
    assert {image.group for image in validation} < {"p0", "p1"}


def test_the_seed_decides_which_groups_are_held_out() -> None:
    images = [record(index, ("a",), str(index)) for index in range(50)]
    assert split_by_group(images, seed=1) == split_by_group(images, seed=1)
    assert split_by_group(images, seed=1) != split_by_group(images, seed=2)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 20])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(RtvpError, match="between 0 and 1"):
        split_by_group([], share)


def test_nothing_to_split() -> None:
    assert split_by_group([]) == ((), ())
