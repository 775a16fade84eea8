from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from split_data import item

from rtvp.mmio.leaks import Leaks, NamePair, find_leaks
from rtvp.mmio.splits import Split

ITEMS = [
    item("a/1", "hole", group="one"),
    item("a/2", "crack", group="two"),
    item("b/1", "pin hole"),
    item("b/2", "slit", "crack"),
    item("b/3"),
]
SIDES = {"a/1": "train", "a/2": "train", "b/1": "test", "b/2": "test"}
SPLIT = Split("zero-shot/category", SIDES, {"b/3": "spare"}, ("crack", "hole"), ("pin hole", "slit"))  # type: ignore[arg-type]

ANGLES = {"hole": 0, "pin hole": 50, "crack": 90, "slit": 110}


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    radians = np.deg2rad([ANGLES[text] for text in texts])
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def broken(leaks: Leaks) -> str:
    (line,) = leaks.broken
    assert not leaks.ok
    return line


def test_a_split_that_keeps_its_promise_has_near_names_listed_all_the_same() -> None:
    leaks = find_leaks(SPLIT, ITEMS, [("a/1", "a/2"), ("b/3", "a/1"), ("x/1", "a/1")], embed)
    assert leaks == Leaks(
        "zero-shot/category",
        (
            NamePair("crack", "slit", 0.9397, ()),
            NamePair("crack", "pin hole", 0.766, ()),
            NamePair("hole", "pin hole", 0.6428, ("hole",)),
        ),
        (),
        (),
        (),
        (),
    )
    assert leaks.ok
    assert find_leaks(SPLIT, ITEMS).near_names == (NamePair("hole", "pin hole", None, ("hole",)),)
    assert len(find_leaks(SPLIT, ITEMS, (), embed, near_cosine=0.9).near_names) == 2


def test_a_group_on_both_sides() -> None:
    items = [*ITEMS[:3], replace(ITEMS[3], group="a/two"), ITEMS[4]]
    leaks = find_leaks(SPLIT, items)
    assert leaks.shared_groups == ("a/two",)
    assert broken(leaks) == "1 group(s) with images on both sides: a/two"
    assert find_leaks(SPLIT, [*ITEMS[:4], replace(ITEMS[4], group="a/two")]).ok  # left out: on no side


def test_copies_on_both_sides() -> None:
    items = [*ITEMS[:2], *(replace(i, sha256=ITEMS[1].sha256) for i in ITEMS[2:])]
    leaks = find_leaks(SPLIT, items)
    assert leaks.copies == (("a/2", "b/1"), ("a/2", "b/2"))
    assert "2 copies of a training image on the test side: b/1, b/2" in broken(leaks)
    assert find_leaks(SPLIT, [replace(i, sha256="") for i in ITEMS]).ok


def test_near_duplicates_on_both_sides() -> None:
    leaks = find_leaks(SPLIT, ITEMS, [("b/2", "a/1"), ("a/1", "b/2"), ("a/1", "b/1")])
    assert leaks.near_duplicates == (("a/1", "b/1"), ("a/1", "b/2"))
    assert broken(leaks) == "2 near-duplicate(s) across the sides: b/1, b/2"


def test_an_unseen_category_in_training() -> None:
    leaks = find_leaks(replace(SPLIT, sides={**SIDES, "b/2": "train"}), ITEMS)
    assert broken(leaks) == "1 training image(s) that show an unseen category: b/2"


@pytest.mark.parametrize(
    ("seen", "unseen", "what"),
    [
        (("crack", "hole", "slit"), ("pin hole", "slit"), "1 category(ies) both seen and unseen: slit"),
        (("crack", "hole", "spot"), ("slit",), "1 seen category(ies) without a training image: spot"),
        (("crack",), ("slit",), "1 trained category(ies) that are not listed as seen: hole"),
    ],
)
def test_lists_of_categories_that_do_not_fit(
    seen: tuple[str, ...], unseen: tuple[str, ...], what: str
) -> None:
    assert what in find_leaks(replace(SPLIT, seen=seen, unseen=unseen), ITEMS).broken


def test_images_without_a_side() -> None:
    missing = {key: side for key, side in SIDES.items() if key != "b/1"}
    assert (
        broken(find_leaks(replace(SPLIT, sides=missing), ITEMS))
        == "1 image(s) without a side or a reason: b/1"
    )
    assert "1 image(s) that are not there: b/1" in find_leaks(SPLIT, [*ITEMS[:2], *ITEMS[3:]]).broken
    twice = replace(SPLIT, left_out={"b/3": "spare", "b/1": "no"})
    assert broken(find_leaks(twice, ITEMS)) == "1 image(s) that have a side and are left out: b/1"


def test_names_break_the_promise_of_a_split_by_meaning_only() -> None:
    leaks = find_leaks(replace(SPLIT, name="zero-shot/meaning", max_cosine=0.9), ITEMS, (), embed)
    assert leaks.broken == (
        "1 pair(s) of a seen and an unseen name with a common word: hole / pin hole",
        "1 pair(s) of a seen and an unseen name with a cosine of 0.9 or more: crack / slit",
    )
    apart = Split(
        "zero-shot/meaning", {"a/1": "train", "b/2": "test"}, {}, ("hole",), ("slit",), max_cosine=0.6
    )
    items = [ITEMS[0], item("b/2", "slit")]
    assert find_leaks(apart, items, (), embed).ok
    assert (
        broken(find_leaks(apart, items))
        == "the cosine of names below 0.6 cannot be checked without a text model"
    )


def test_a_limit_below_the_listing_lists_what_breaks_it() -> None:
    split = replace(SPLIT, name="zero-shot/meaning", max_cosine=0.3)
    assert len(find_leaks(split, ITEMS, (), embed).near_names) == 3
    assert "cosine of 0.3 or more" in find_leaks(split, ITEMS, (), embed).broken[1]


def test_a_scene_on_both_sides() -> None:
    split = replace(SPLIT, name="zero-shot/scene", unseen_scenes=("B",))
    assert find_leaks(split, ITEMS, scene_of={"a": "A", "b": "B"}).ok
    wrong = find_leaks(split, ITEMS, scene_of={"a": "B", "b": "B"})
    assert broken(wrong) == "2 image(s) of a seen scene tested on or of an unseen one trained on: a/1, a/2"
    assert "scene is not known, so that it cannot be checked: b" in broken(
        find_leaks(split, ITEMS, scene_of={"a": "A"})
    )


def test_long_lists_are_cut_in_the_lines_for_people() -> None:
    sides = {f"a/{i}": "train" for i in range(9)}
    leaks = find_leaks(Split("closed", sides), [item(f"b/{i}") for i in range(9)])  # type: ignore[arg-type]
    assert leaks.broken[0] == "9 image(s) without a side or a reason: b/0, b/1, b/2, ..."


def test_leaks_are_plain_json() -> None:
    leaks = find_leaks(SPLIT, ITEMS, [("a/1", "b/1")], embed)
    content = json.loads(json.dumps(leaks.to_json()))
    assert content["ok"] is False
    assert content["near_duplicates"] == [["a/1", "b/1"]]
    assert content["near_names"][0] == {
        "seen": "crack",
        "unseen": "slit",
        "cosine": 0.9397,
        "shared_words": [],
    }
