from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.mmio.build_config import CleaningConfig
from rtvp.mmio.cleaning import Cleaned, Removal, clean, compare_labels
from rtvp.mmio.fingerprint import Fingerprint
from rtvp.mmio.schema import Annotation, Box, Item

LEFT: Box = (10.0, 10.0, 40.0, 30.0)  # of 100 x 50 px
RIGHT: Box = (60.0, 10.0, 90.0, 30.0)
CRACK = (Annotation("crack", LEFT),)
HOLE = (Annotation("hole", LEFT),)


def item(name: str, annotations: Sequence[Annotation] = CRACK, sha: str = "", source: str = "set") -> Item:
    return Item(
        source, name, 100, 50, sha or f"sha of {source}/{name}", f"{source}/{name}", tuple(annotations)
    )


def look(picture: int, noise: int = 0, contrast: int = 200) -> Fingerprint:
    """The fingerprint of a picture; a copy with ``noise`` is that many grey levels brighter."""
    rng = np.random.default_rng(picture)
    hashes = tuple(rng.integers(0, 2**63, 8, dtype=np.uint64).tolist())
    thumbnail = rng.integers(20, 200, 1024, dtype=np.uint8) + np.uint8(noise)
    detail = rng.integers(0, 256, 256, dtype=np.uint8)
    detail[128:] = 255  # all of the texture is known
    return Fingerprint(f"{picture}", True, 100, 50, contrast, hashes, thumbnail.tobytes(), detail.tobytes())


def run(pictures: dict[Item, Fingerprint] | list[tuple[Item, Fingerprint]], **config: object) -> Cleaned:
    pairs = list(pictures.items() if isinstance(pictures, dict) else pictures)
    return clean(
        [one for one, _ in pairs], {one.key: known for one, known in pairs}, CleaningConfig(**config)
    )


def reasons(cleaned: Cleaned) -> dict[str, str]:
    return {removal.key: removal.reason for removal in cleaned.removals}


def test_good_and_distinct_images_stay() -> None:
    items = [item(f"{i}.png", CRACK if i % 2 else ()) for i in range(20)]
    cleaned = run({one: look(place) for place, one in enumerate(items)})
    assert set(cleaned.items) == set(items)
    assert cleaned.removals == cleaned.near_duplicates == cleaned.notes == ()


def test_unreadable_images_go() -> None:
    broken = {item("a.png"): Fingerprint("x", readable=False), item("b.png"): look(1)}
    assert reasons(run(broken)) == {"set/a.png": "unreadable"}
    assert run(broken, unreadable=False).removals == ()


def test_blank_images_go_but_faint_ones_with_boxes_stay_and_are_told() -> None:
    pictures = {
        item("constant.png"): look(0, contrast=2),
        item("faint_good.png", ()): look(1, contrast=8),
        item("faint_cracked.png"): look(2, contrast=8),
        item("dark_good.png", ()): look(3, contrast=9),
    }
    cleaned = run(pictures)
    assert reasons(cleaned) == {"set/constant.png": "blank", "set/faint_good.png": "almost blank"}
    assert cleaned.notes == ("1 almost blank image(s) with boxes stay: set/faint_cracked.png",)
    assert run(pictures, blank_contrast=None).removals == ()
    assert list(reasons(run(pictures, blank_contrast=0))) == ["set/constant.png"]


def test_of_equal_files_the_one_with_the_shorter_name_stays() -> None:
    copies = [item("a_copy.png", sha="s"), item("a.png", sha="s"), item("b.png", sha="s", source="other")]
    cleaned = run([(one, look(0)) for one in copies])
    assert [one.key for one in cleaned.items] == ["other/b.png"]
    assert cleaned.removals == (
        Removal("set/a.png", "exact duplicate", "the same bytes", "other/b.png"),
        Removal("set/a_copy.png", "exact duplicate", "the same bytes", "other/b.png"),
    )
    # Switched off, and the near-duplicates with them, they stay.
    kept = run([(one, look(0)) for one in copies], exact_duplicates=False, near_duplicates=False)
    assert len(kept.items) == 3


@pytest.mark.parametrize(
    ("rule", "left"), [("richer", ["set/b.png"]), ("drop", []), ("keep", ["set/a.png", "set/b.png"])]
)
def test_equal_files_with_labels_that_differ_contradict_each_other(rule: str, left: list[str]) -> None:
    two = (*CRACK, Annotation("crack", RIGHT))
    cleaned = run(
        [(item("a.png", sha="s"), look(0)), (item("b.png", two, sha="s"), look(0))], contradictions=rule
    )
    assert [one.key for one in cleaned.items] == left
    assert set(reasons(cleaned).values()) <= {"contradictory labels"}


def test_two_sets_may_name_one_file_in_their_own_words() -> None:
    copies = [item("a.png", sha="s"), item("a.png", HOLE, sha="s", source="other")]
    cleaned = run([(one, look(0)) for one in copies])
    assert len(cleaned.items) == 2
    assert "1 pair(s) of images of which one would be an exact duplicate stay" in cleaned.notes[0]


def test_of_near_duplicates_with_the_same_labels_the_larger_stays() -> None:
    small, large = (
        item("a.png"),
        replace(item("b.png", (Annotation("crack", (20, 20, 80, 60)),)), width=200, height=100),
    )
    cleaned = run({small: look(0), large: look(0, noise=1), item("c.png"): look(1)})
    assert [one.key for one in cleaned.items] == ["set/b.png", "set/c.png"]
    (removal,) = cleaned.removals
    assert (removal.key, removal.reason, removal.kept_key) == ("set/a.png", "near duplicate", "set/b.png")
    (near,) = cleaned.near_duplicates
    assert (near.one, near.other, near.orientation, near.labels) == (
        "set/a.png",
        "set/b.png",
        "upright",
        "agree",
    )
    assert (near.texture, near.mean, near.largest) == (1, 1, 1)
    assert cleaned.near_pairs == ()
    assert run({small: look(0), large: look(0, noise=1)}, near_duplicates=False).removals == ()


def test_near_duplicates_with_boxes_elsewhere_both_stay_as_a_pair() -> None:
    pictures = {
        item("a.png"): look(0),
        item("b.png", (Annotation("crack", RIGHT),)): look(0),
        item("c.png", ()): look(0),
    }
    cleaned = run(pictures)
    assert len(cleaned.items) == 3
    assert set(cleaned.near_pairs) == {
        ("set/a.png", "set/b.png"),
        ("set/a.png", "set/c.png"),
        ("set/b.png", "set/c.png"),
    }


@pytest.mark.parametrize(
    ("rule", "left"), [("richer", ["set/a.png"]), ("drop", []), ("keep", ["set/a.png", "set/b.png"])]
)
def test_two_names_for_one_place_contradict_each_other(rule: str, left: list[str]) -> None:
    pictures = {item("a.png"): look(0), item("b.png", HOLE): look(0)}
    cleaned = run(pictures, contradictions=rule)
    assert [one.key for one in cleaned.items] == left
    assert [near.labels for near in cleaned.near_duplicates] == ["contradict"]


def test_other_light_is_reported_but_not_removed() -> None:
    cleaned = run({item("a.png"): look(0), item("b.png"): look(0, noise=5)})
    assert cleaned.removals == ()
    assert cleaned.near_pairs == (("set/a.png", "set/b.png"),)


def test_what_resembles_only_a_removed_image_stays() -> None:
    """No chains: each removed image has a copy that stayed."""
    pictures = {item("a.png"): look(0), item("aa.png"): look(0, noise=2), item("aaa.png"): look(0, noise=4)}
    cleaned = run(pictures)
    assert [one.key for one in cleaned.items] == ["set/a.png", "set/aaa.png"]
    assert cleaned.removals[0].kept_key == "set/a.png"


def test_kept_images_stand_over_all_rules() -> None:
    pictures = [
        (item("broken.png"), Fingerprint("x", readable=False)),
        (item("blank.png"), look(0, contrast=0)),
        (item("copy.png", sha="s"), look(1)),
        (item("x.png", sha="s"), look(1)),
    ]
    cleaned = run(pictures, keep=("set/b*.png", "set/copy.png", "other/*"))
    assert [one.key for one in cleaned.items] == ["set/blank.png", "set/broken.png", "set/copy.png"]
    assert cleaned.removals == (Removal("set/x.png", "exact duplicate", "the same bytes", "set/copy.png"),)
    assert "keep: no image matches other/*" in cleaned.notes


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from([(), CRACK, HOLE]), st.booleans()),
        max_size=12,
    ),
    st.sampled_from(["richer", "drop", "keep"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_every_image_stays_or_is_accounted_for_whatever_the_order(
    rows: list[tuple[int, int, tuple[Annotation, ...], bool]], rule: str, rng: random.Random
) -> None:
    pictures = [
        (
            item(f"{place}.png", labels, sha=f"{picture}" if exact else "", source=f"s{picture % 2}"),
            look(picture, noise),
        )
        for place, (picture, noise, labels, exact) in enumerate(rows)
    ]
    cleaned = run(pictures, contradictions=rule)
    kept, removed = {one.key for one in cleaned.items}, [removal.key for removal in cleaned.removals]
    assert sorted([*kept, *removed]) == sorted(one.key for one, _ in pictures)
    for removal in cleaned.removals:
        assert removal.kept_key in kept or (removal.kept_key is None and rule == "drop")
    rng.shuffle(pictures)
    assert run(pictures, contradictions=rule) == cleaned
    # What was left needs no second cleaning.
    again = run([(one, known) for one, known in pictures if one.key in kept], contradictions=rule)
    assert again.items == cleaned.items


@given(st.integers(0, 7), st.floats(0, 0.6), st.floats(0, 0.6))
@settings(max_examples=40, deadline=None)
def test_labels_are_compared_as_the_copy_was_turned(orientation: int, x: float, y: float) -> None:
    shape = np.zeros((50, 100), dtype=int)
    x1, y1 = int(100 * x), int(50 * y)
    shape[y1 : y1 + 20, x1 : x1 + 30] = 1
    turned = shape  # the inverse of the orientation: mirrorings first, the transposition last
    turned = turned[::-1] if orientation & 2 else turned
    turned = turned[:, ::-1] if orientation & 1 else turned
    turned = turned.T if orientation & 4 else turned
    rows, columns = np.nonzero(turned)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    one = item("a.png", (Annotation("crack", (x1, y1, x1 + 30, y1 + 20)),))
    other = replace(
        item("b.png", (Annotation("crack", tuple(map(float, box))),)),
        width=turned.shape[1],
        height=turned.shape[0],
    )
    assert compare_labels(one, other, orientation) == "agree"
    named = replace(other, annotations=(Annotation("hole", other.annotations[0].box_xyxy),))
    assert compare_labels(one, named, orientation) == "contradict"
    assert compare_labels(one, replace(named, source="other"), orientation) == "differ"
    assert compare_labels(one, replace(other, annotations=()), orientation) == "differ"
