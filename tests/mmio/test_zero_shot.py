from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from split_data import item, item_sets

from rtvp.errors import RtvpError
from rtvp.mmio.leaks import find_leaks
from rtvp.mmio.names import shared_words
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Split, bundle
from rtvp.mmio.zero_shot import category_split, meaning_split, related_names, scene_split

NAMES = [
    "hole",
    "pin hole",
    "blowhole",
    "scratch",
    "scratched head",
    "stain",
    "knot",
    "dead knot",
    "oil",
    "rough",
]


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """A text model: how often each letter occurs."""
    counts = np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)
    length: NDArray[np.float32] = np.linalg.norm(counts, axis=1, keepdims=True)
    return counts / np.maximum(length, 1e-6)


def apart(texts: Sequence[str]) -> NDArray[np.float32]:
    """A text model to which all texts are unlike each other."""
    return np.eye(len(texts), dtype=np.float32)


def shown(items: Sequence[Item], split: Split, side: str) -> set[str]:
    return {a.name for i in items if split.sides.get(i.key) == side for a in i.annotations}


def check_promise(items: Sequence[Item], split: Split) -> None:
    """What all zero-shot splits by category promise, said without their code."""
    by_key = {item.key: item for item in items}
    assert set(split.sides) | set(split.left_out) == set(by_key)
    assert not set(split.sides) & set(split.left_out)
    assert shown(items, split, "train") == set(split.seen)
    assert set(split.unseen) <= shown(items, split, "test") and split.unseen
    assert not set(split.seen) & set(split.unseen)
    assert not {a.name for key in split.left_out for a in by_key[key].annotations} & set(split.unseen)
    for key in split.left_out:
        mates = [other for other in by_key.values() if split.sides.get(other.key) == "test"]
        bundles = bundle(items).values()
        together = next(members for members in bundles if any(i.key == key for i in members))
        assert any(i in mates and {a.name for a in i.annotations} & set(split.unseen) for i in together)
    for name in split.seen:
        showing = [i.key for i in items if name in {a.name for a in i.annotations}]
        assert 2 * sum(split.sides.get(key) == "train" for key in showing) >= len(showing)
    trained = {i.group for i in items if split.sides.get(i.key) == "train"}
    assert not trained & {i.group for i in items if split.sides.get(i.key) == "test"}
    tested_files = {i.sha256 for i in items if split.sides.get(i.key) == "test"}
    assert not tested_files & {i.sha256 for i in items if split.sides.get(i.key) == "train"}
    for i in items:
        if split.sides.get(i.key) == "test" and i.annotations:
            assert {a.name for a in i.annotations} & set(split.unseen)


@given(item_sets(), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_split_by_category_keeps_its_promise_on_any_images(items: list[Item], seed: int) -> None:
    try:
        split = category_split(items, seed=seed, unseen_share=0.4)
    except RtvpError as error:
        assert "no choice leaves categories on both sides" in str(error)
        return
    check_promise(items, split)
    assert find_leaks(split, items).ok
    assert category_split(items[::-1], seed=seed, unseen_share=0.4) == split


def test_no_choice_is_found_only_where_there_is_none() -> None:
    """Both in all images: neither can be trained on without the other."""
    items = [item(f"a/{i}", "x", "y") for i in range(5)]
    with pytest.raises(RtvpError, match="out of 2 categories in 2 inseparable parts"):
        category_split(items, unseen_share=0.5)
    items += [item(f"a/{i}", "x") for i in range(5, 9)]
    with pytest.raises(RtvpError, match="no choice"):  # x would keep 4 of 9 images
        category_split(items, unseen_share=0.5)
    split = category_split([*items, item("a/9", "x")], unseen_share=0.5)
    assert (split.seen, split.unseen) == (("x",), ("y",))
    with pytest.raises(RtvpError, match="no choice"):
        category_split([])


def test_about_the_share_of_the_categories_is_unseen() -> None:
    rng = random.Random(0)
    names = [f"n{i}" for i in range(40)]
    items = [
        item(f"a/{i:04}", *rng.sample(names[k : k + 4], 2))
        for k in range(0, 40, 4)
        for i in range(k * 50, k * 50 + 50)
    ]
    split = category_split(items, seed=3)
    check_promise(items, split)
    assert len(split.unseen) == pytest.approx(14, abs=2)


def test_a_group_that_spans_seen_and_unseen_is_never_trained_on() -> None:
    items = [item(f"a/{i}", "x") for i in range(4)] + [item(f"b/{i}", "y") for i in range(40)]
    items += [item("b/s1", "y", group="span"), item("b/s2", "x", group="span"), item("b/s3", group="span")]
    items += [item("b/both", "x", "y")]
    for seed in range(6):
        split = category_split(items, unseen_share=0.5, seed=seed)
        check_promise(items, split)
        (unseen,) = split.unseen
        spanning = {"x": "b/s2", "y": "b/s1"}
        assert split.sides[spanning[unseen]] == split.sides["b/both"] == split.sides["b/s3"] == "test"
        other = spanning[split.seen[0]]
        assert split.left_out == {other: "shares a group with an image of an unseen category"}


def test_the_choice_that_wastes_the_fewest_images_is_taken() -> None:
    few = [item(f"a/{i}", "x") for i in range(10)] + [item(f"b/{i}", "y") for i in range(90)]
    assert {category_split(few, unseen_share=0.5, seed=seed).unseen for seed in range(5)} == {("x",)}
    shows = [["a"], ["b"], ["c"]] * 30 + [["b", "c"]] * 10
    mixed = [item(f"a/{i}", *names) for i, names in enumerate(shows)]
    assert {category_split(mixed, unseen_share=0.45, seed=seed).unseen for seed in range(5)} == {("a",)}


def test_good_images_are_shared_out_as_the_defective_ones_of_their_set() -> None:
    items = [item(f"a/{i:03}", "x") for i in range(100)] + [item(f"a/g{i:03}") for i in range(50)]
    items += [item(f"b/{i:03}", "x" if i < 30 else "y") for i in range(40)]
    items += [item(f"b/g{i:03}", group=f"g{i // 2}") for i in range(80)] + [
        item(f"c/g{i}") for i in range(70)
    ]
    split = category_split(items, unseen_share=0.5)
    assert split.unseen == ("y",)
    good = Counter((i.source, split.sides[i.key]) for i in items if not i.annotations)
    assert good == {
        ("a", "train"): 50,
        ("b", "train"): 60,
        ("b", "test"): 20,
        ("c", "train"): 65,
        ("c", "test"): 5,
    }


def test_a_good_image_follows_its_group() -> None:
    items = [
        item(f"a/{i}{kind}", *names, group=str(i))
        for i in range(20)
        for kind, names in (("", "xy"[i < 10]), ("t", ""))
    ]
    split = category_split(items, unseen_share=0.5)
    assert all(split.sides[f"a/{i}"] == split.sides[f"a/{i}t"] for i in range(20))
    assert set(split.sides.values()) == {"train", "test"}


def test_near_duplicates_go_to_one_side() -> None:
    items = [item(f"a/{i}", "x") for i in range(20)] + [item(f"b/{i}", "y") for i in range(10)]
    split = category_split(items, unseen_share=0.5, near_pairs=[("a/3", "b/3")])
    assert split.unseen == ("y",)
    assert split.left_out == {"a/3": "shares a group with an image of an unseen category"}
    assert find_leaks(split, items, [("a/3", "b/3")]).ok


def test_the_seed_decides() -> None:
    items = [item(f"a/{i:03}", f"n{i % 20}") for i in range(200)]
    splits = [category_split(items, seed=seed) for seed in (1, 1, 2)]
    assert splits[0] == splits[1] and splits[0].unseen != splits[2].unseen


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.lists(st.sampled_from(NAMES), max_size=2, unique=True)),
        max_size=60,
    ),
    st.integers(0, 3),
    st.sampled_from([0.5, 0.7, 0.95]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_a_split_by_meaning_keeps_its_promise_on_any_images(
    rows: list[tuple[str, list[str]]], seed: int, limit: float
) -> None:
    items = [item(f"{source}/{i}", *names) for i, (source, names) in enumerate(rows)]
    try:
        split = meaning_split(items, letters, max_cosine=limit, seed=seed, unseen_share=0.4)
    except RtvpError as error:
        assert "inseparable parts" in str(error)
        return
    check_promise(items, split)
    for seen in split.seen:
        for unseen in split.unseen:
            assert not shared_words(seen, unseen)
            one, other = letters([seen, unseen])
            assert one @ other < limit + 1e-4
    assert find_leaks(split, items, embed=letters).ok
    assert meaning_split(items[::-1], letters, max_cosine=limit, seed=seed, unseen_share=0.4) == split


def test_names_that_hang_together_stay_together() -> None:
    assert related_names(NAMES, apart, 0.5) == [
        ("blowhole", "hole", "pin hole"),
        ("dead knot", "knot"),
        ("oil",),
        ("rough",),
        ("scratch", "scratched head"),
        ("stain",),
    ]
    assert related_names(["abc", "abd", "xyz", "dddb"], letters, 0.65) == [("abc", "abd", "dddb"), ("xyz",)]
    assert related_names([], apart, 0.5) == []


def test_a_split_by_meaning_parts_no_relatives_where_one_by_category_would() -> None:
    items = [item(f"a/{i:03}", NAMES[i % len(NAMES)]) for i in range(200)]
    split = meaning_split(items, apart)
    parts = [{name in split.unseen for name in part} for part in related_names(NAMES, apart, 0.6)]
    assert all(len(part) == 1 for part in parts)
    assert len(split.unseen) == pytest.approx(3.5, abs=0.5)
    assert split.max_cosine == 0.6


@given(item_sets(), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_split_by_scene_keeps_its_promise_on_any_images(items: list[Item], seed: int) -> None:
    scene_of = {"x": "cloth", "y": "steel", "z": "steel"}
    if len({scene_of[i.source] for i in items}) < 2:
        with pytest.raises(RtvpError, match="two scenes or more"):
            scene_split(items, scene_of, seed=seed)
        return
    split = scene_split(items, scene_of, seed=seed)
    assert set(split.sides) | set(split.left_out) == {i.key for i in items}
    for i in items:
        unseen = scene_of[i.source] in split.unseen_scenes
        assert split.sides.get(i.key) == ("test" if unseen else "train") or (
            i.key in split.left_out and not unseen
        )
    assert set(split.seen) == shown(items, split, "train")
    assert set(split.unseen) == shown(items, split, "test") - set(split.seen)
    assert find_leaks(split, items, scene_of=scene_of).ok
    assert scene_split(items[::-1], scene_of, seed=seed) == split


def test_unseen_scenes_have_about_the_share_of_the_images() -> None:
    sizes = dict(zip("abcdefgh", (400, 50, 60, 70, 80, 90, 100, 110), strict=True))
    items = [item(f"{source}/{i:03}", "x") for source, size in sizes.items() for i in range(size)]
    split = scene_split(items, {source: source.upper() for source in sizes})
    assert len(split.unseen_scenes) == 2
    assert Counter(split.sides.values())["test"] == pytest.approx(240, abs=60)


def test_a_group_that_spans_scenes_is_not_trained_on() -> None:
    items = [item(f"{source}/{i}", "x") for source in "ab" for i in range(10)]
    copies = [item("a/copy", "x", sha256="0" * 64), item("b/copy", "x", sha256="0" * 64)]
    split = scene_split([*items, *copies], {"a": "A", "b": "B"})
    seen = {"A": "b/copy", "B": "a/copy"}[split.unseen_scenes[0]]
    assert split.left_out == {seen: "shares a group with an image of an unseen scene"}


@pytest.mark.parametrize("share", [0.0, 1.0, 35])
def test_shares_out_of_range_are_refused(share: float) -> None:
    items = [item("a/1", "x"), item("b/1", "y")]
    with pytest.raises(RtvpError, match="between 0 and 1"):
        category_split(items, unseen_share=share)
    with pytest.raises(RtvpError, match="between 0 and 1"):
        meaning_split(items, apart, unseen_share=share)
    with pytest.raises(RtvpError, match="between 0 and 1"):
        scene_split(items, {"a": "A", "b": "B"}, unseen_share=share)


def test_a_set_without_a_scene_is_refused() -> None:
    with pytest.raises(RtvpError, match="none for 'b'"):
        scene_split([item("a/1"), item("b/1")], {"a": "A"})
