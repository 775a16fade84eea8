from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping

import pytest
from generated_items import coco_files
from hypothesis import given, settings
from report_data import ITEMS, LARGE, MEDIUM, SCENE_OF, SMALL, SUPER_CATEGORY_OF, TAXONOMY, make_item

from rtvp.errors import RtvpError
from rtvp.mmio.coco_file import CocoFile
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Split
from rtvp.mmio.statistics import RELATIVE_EDGES, SIDE_EDGES, size_band, statistics
from rtvp.mmio.statistics_schema import PAPER_TABLE_1, Statistics


@pytest.fixture(scope="module")
def stats() -> Statistics:
    return statistics(ITEMS, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)


def test_the_row_of_table_1_and_the_totals_are_as_counted_by_hand(stats: Statistics) -> None:
    assert stats["table_1"] == {
        "dataset": "This build",
        "classes": 3,
        "images": 6,
        "scenes": 2,
        "modal": "Text, Image",
    }
    assert stats["totals"] == {
        "sources": 3,
        "scenes": 2,
        "super_categories": 2,
        "categories": 3,
        "images": 6,
        "defective": 5,
        "good": 1,
        "boxes": 8,
    }
    assert stats["table_1"].keys() == PAPER_TABLE_1[0].keys()


def test_categories_count_boxes_images_sizes_and_places_most_boxes_first(stats: Statistics) -> None:
    assert list(stats["categories"]) == ["scratch", "hole", "dent"]
    assert stats["categories"]["scratch"] == {
        "boxes": 5,
        "images": 4,
        "sizes": {"small": 3, "medium": 1, "large": 1},
        "super_categories": {"metallurgy": 4, "textiles": 1},
        "scenes": {"metal plates": 4, "garments": 1},
    }
    assert stats["long_tail"] == {"rare": 3, "common": 0, "frequent": 0, "imbalance": 5.0}


def test_scenes_and_super_categories_count_their_sets_and_good_images(stats: Statistics) -> None:
    assert stats["scenes"] == {
        "metal plates": {
            "sources": ["plates", "strip"],
            "scenes": ["metal plates"],
            "super_categories": {"metallurgy": 4},
            "images": 4,
            "good": 1,
            "boxes": 5,
            "sizes": {"small": 2, "medium": 2, "large": 1},
            "categories": {"scratch": 4, "dent": 1},
        },
        "garments": {
            "sources": ["shirts"],
            "scenes": ["garments"],
            "super_categories": {"textiles": 2},
            "images": 2,
            "good": 0,
            "boxes": 3,
            "sizes": {"small": 3, "medium": 0, "large": 0},
            "categories": {"hole": 2, "scratch": 1},
        },
    }
    assert {name: part["boxes"] for name, part in stats["super_categories"].items()} == {
        "metallurgy": 5,
        "textiles": 3,
    }


def test_sizes_are_counted(stats: Statistics) -> None:
    assert stats["box_sizes"]["coco"] == {"small": 5, "medium": 2, "large": 1}
    assert stats["box_sizes"]["side_spread"] == {
        "min": 31.9844,
        "quarter": 31.9844,
        "median": 31.9844,
        "three_quarters": 32.0,
        "max": 96.0,
    }
    # All images have 10,000 px, so that a share is a hundredth of the side.
    assert stats["box_sizes"]["relative_spread"]["max"] == 0.96
    assert stats["boxes_per_image"] == {"0": 1, "1": 3, "2": 1, "3": 1}
    assert stats["image_sizes"]["listed"] == [[100, 100, 4], [200, 50, 2]]
    assert stats["image_sizes"]["distinct"] == 2
    assert stats["image_sizes"]["width"]["median"] == 100.0


def test_what_the_taxonomy_has_more_and_less_is_named(stats: Statistics) -> None:
    assert stats["taxonomy"] == {
        "expected_categories": 3,
        "missing_categories": ["burr"],
        "missing_scenes": ["boards"],
        "missing_super_categories": ["wood processing"],
        "unknown_categories": ["hole"],
    }


def test_the_bands_of_the_long_tail_count_images_and_not_boxes() -> None:
    shown = {"rare": 10, "common": 11, "also common": 100, "frequent": 101}
    items = [
        make_item("plates", f"{name} {i}.png", *[(name, SMALL)] * 12)
        for name, images in shown.items()
        for i in range(images)
    ]
    tail = statistics(items, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)["long_tail"]
    assert tail == {"rare": 1, "common": 2, "frequent": 1, "imbalance": 10.1}


def test_splits_are_counted() -> None:
    keys = [item.key for item in ITEMS]
    split = Split(
        "zero-shot/category",
        {keys[1]: "train", keys[2]: "train", keys[4]: "test", keys[5]: "test"},
        left_out={keys[0]: "shows both", keys[3]: "shows both"},
        seen=("scratch",),
        unseen=("hole",),
    )
    counted = statistics(ITEMS, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY, [split])["splits"]
    assert counted == {
        "zero-shot/category": {
            "train_images": 2,
            "test_images": 2,
            "left_out": 2,
            "train_boxes": 1,
            "test_boxes": 3,
            "seen": 1,
            "unseen": 1,
            "seen_images": 1,
            "unseen_images": 2,
            "unseen_boxes": 2,
        }
    }


def test_the_bands_meet_at_cocos_limits() -> None:
    assert [size_band(box) for box in (SMALL, MEDIUM, LARGE)] == ["small", "medium", "large"]
    assert size_band((0, 0, 95.99, 96)) == "medium"
    assert {32.0, 96.0} <= set(SIDE_EDGES)
    assert math.isclose(RELATIVE_EDGES[-1], 1)


def test_the_end_bins_take_what_lies_beyond_the_edges() -> None:
    tiny, huge = (0.0, 0.0, 0.1, 0.1), (0.0, 0.0, 50_000.0, 50_000.0)
    item = make_item("plates", "a.png", ("a", tiny), ("a", huge), size=(50_000, 50_000))
    sizes = statistics([item], SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)["box_sizes"]
    for histogram in (sizes["side"], sizes["relative"]):
        assert histogram["counts"][0] == histogram["counts"][-1] == 1
        assert sum(histogram["counts"]) == 2
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_nothing_is_counted_as_nothing() -> None:
    empty = statistics([], {}, {}, TAXONOMY)
    assert empty["totals"] == dict.fromkeys(empty["totals"], 0)
    assert empty["long_tail"]["imbalance"] == 0
    assert sum(empty["box_sizes"]["side"]["counts"]) == 0
    assert empty["taxonomy"]["missing_categories"] == ["burr", "dent", "scratch"]
    json.dumps(empty, allow_nan=False)


@pytest.mark.parametrize(
    ("scenes", "supers", "what"),
    [({"plates": "metal plates"}, {}, "super-category"), ({"shirts": "garments"}, {}, "scene")],
)
def test_a_source_that_no_table_knows_is_named(
    scenes: Mapping[str, str], supers: Mapping[str, str], what: str
) -> None:
    with pytest.raises(RtvpError, match=f"expected the {what} of every source, got none for 'plates'"):
        statistics(ITEMS[:1], scenes, supers, TAXONOMY)


@settings(max_examples=30, deadline=None)
@given(coco_files(sources=("plates", "strip", "shirts")))
def test_parts_add_up_whatever_the_order(coco: CocoFile) -> None:
    shuffled: list[Item] = list(coco.items)
    random.Random(0).shuffle(shuffled)
    stats = statistics(coco.items, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
    again = statistics(iter(shuffled), SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
    assert json.dumps(stats, allow_nan=False) == json.dumps(again)
    boxes, images = stats["totals"]["boxes"], stats["totals"]["images"]
    assert boxes == sum(len(item.annotations) for item in coco.items)
    assert boxes == sum(numbers["boxes"] for numbers in stats["categories"].values())
    for parts in (stats["scenes"], stats["super_categories"]):
        assert boxes == sum(part["boxes"] for part in parts.values())
        assert images == sum(part["images"] for part in parts.values())
        for part in parts.values():
            assert part["boxes"] == sum(part["sizes"].values()) == sum(part["categories"].values())
    assert images == sum(stats["boxes_per_image"].values())
    assert boxes == sum(int(count) * n for count, n in stats["boxes_per_image"].items())
    for histogram in (stats["box_sizes"]["side"], stats["box_sizes"]["relative"]):
        assert boxes == sum(histogram["counts"])
    # The bins of a band hold just its boxes.
    side = stats["box_sizes"]["side"]
    below = sum(n for edge, n in zip(side["edges"], side["counts"], strict=False) if edge < 32)
    assert below == stats["box_sizes"]["coco"]["small"]
