from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_data import item, item_sets

from rtvp.errors import RtvpError
from rtvp.mmio.schema import Annotation, ImageRecord, Item
from rtvp.mmio.splits import bundle, closed_split, shuffled, split_by_group

BOX = (0.0, 0.0, 5.0, 5.0)
HELD_OUT = [1, 2, 3, 5, 12, 17, 19, 34, 38, 43, 44, 47, 52, 55, 59]


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


def test_what_training_holds_out_stays_what_it_was() -> None:
    """Trained models are evaluated on exactly these images."""
    rng = random.Random(11)
    images = [
        record(i, tuple(n for n in "abcd" if rng.random() < 0.3), f"g{rng.randrange(30)}") for i in range(60)
    ]
    _, validation = split_by_group(images, seed=4)
    assert [int(image.path.stem) for image in validation] == HELD_OUT


@given(item_sets(), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.5]))
@settings(max_examples=50, deadline=None)
def test_a_closed_split_places_every_image_and_parts_no_group(
    items: list[Item], seed: int, share: float
) -> None:
    split = closed_split(items, test_share=share, seed=seed)
    assert set(split.sides) == {item.key for item in items} and not split.left_out
    for members in bundle(items).values():
        assert len({split.sides[item.key] for item in members}) == 1
    assert len({(item.group, split.sides[item.key]) for item in items}) == len({item.group for item in items})


@given(item_sets(), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_every_category_of_a_closed_split_is_trained(items: list[Item], seed: int) -> None:
    split = closed_split(items, seed=seed)
    trained = {a.name for item in items if split.sides[item.key] == "train" for a in item.annotations}
    assert set(split.seen) == {a.name for item in items for a in item.annotations} == trained
    assert split.unseen == ()


@given(item_sets(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_items_does_not_matter(items: list[Item], rng: random.Random) -> None:
    others = list(items)
    rng.shuffle(others)
    assert closed_split(others, seed=1) == closed_split(items, seed=1)
    assert list(closed_split(others).sides) == sorted(item.key for item in items)


def test_a_closed_split_keeps_the_share_of_each_category_in_each_set_and_of_the_good() -> None:
    rng = random.Random(5)
    items = [
        item(f"{source}/{i:04}", *(n for n, chance in odds.items() if rng.random() < chance))
        for source, odds in (("a", {"x": 0.3, "rare": 0.02}), ("b", {"x": 0.05, "y": 0.5}))
        for i in range(500)
    ]
    split = closed_split(items)
    for source in "ab":
        for name in ("x", "y", "rare", None):
            shown = [
                i.key
                for i in items
                if i.source == source
                and (name in {a.name for a in i.annotations} if name else not i.annotations)
            ]
            if shown:
                tested = sum(split.sides[key] == "test" for key in shown)
                assert tested == pytest.approx(0.2 * len(shown), abs=1 + 0.03 * len(shown)), (source, name)


def test_a_closed_split_tests_a_category_of_two_groups() -> None:
    """Also if they are in different sets."""
    items = [item("a/1", "x"), item("b/1", "x"), *(item(f"a/{i}", "y") for i in range(2, 30))]
    split = closed_split(items)
    assert {split.sides["a/1"], split.sides["b/1"]} == {"train", "test"}


def test_the_sets_of_others_do_not_move_the_images_of_one() -> None:
    items = [item(f"a/{i}", "xyz"[i % 3]) for i in range(60)]
    others = [item(f"b/{i}", "uvw"[i % 3]) for i in range(50)]
    alone, together = closed_split(items).sides, closed_split([*items, *others]).sides
    assert {key: together[key] for key in alone} == alone


def test_copies_and_near_duplicates_stay_together() -> None:
    items = [item(f"a/{i:02}", "x", sha256=f"{i % 20:064}") for i in range(40)]
    pairs = [("a/00", "a/01"), ("a/01", "a/02"), ("a/30", "not there")]
    for seed in range(8):
        sides = closed_split(items, test_share=0.5, seed=seed, near_pairs=pairs).sides
        assert all(sides[f"a/{i:02}"] == sides[f"a/{i + 20:02}"] for i in range(20))
        assert len({sides["a/00"], sides["a/01"], sides["a/22"]}) == 1
    assert {
        frozenset(i.key for i in members) for members in bundle(items[:4], [("a/03", "a/00")]).values()
    } == {
        frozenset({"a/00", "a/03"}),
        frozenset({"a/01"}),
        frozenset({"a/02"}),
    }


def test_images_without_a_hash_are_no_copies_of_each_other() -> None:
    assert len(bundle([item("a/1", sha256=""), item("a/2", sha256="")])) == 2


def test_the_seed_decides_which_items_are_tested() -> None:
    items = [item(f"a/{i}", "x") for i in range(50)]
    assert closed_split(items, seed=1) != closed_split(items, seed=2)
    assert shuffled("abcdefgh", "1") != shuffled("abcdefgh", "2")
    assert [name for name in shuffled("abcdefgh", "1") if name in "bdf"] == shuffled("fdb", "1")


def test_an_image_that_is_there_twice_is_refused() -> None:
    with pytest.raises(RtvpError, match="got a/1 twice"):
        closed_split([item("a/1"), item("a/2"), item("a/1")])
    with pytest.raises(RtvpError, match="between 0 and 1"):
        closed_split([], test_share=20)
    assert closed_split([]).sides == {}
