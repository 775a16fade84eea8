"""What counts as right, wrong, or neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtvp.evaluate.average_precision import mean_precision, precision_by_name, recall_by_name
from rtvp.evaluate.matching import SIZE_RANGES, Limits, count_boxes, match
from rtvp.evaluate.outcome import ANY_NAME, Outcome, Prediction, Truth

BOX = (0.0, 0.0, 10.0, 10.0)
AWAY = (50.0, 50.0, 60.0, 60.0)


def outcome(truth: list[Truth], predictions: list[Prediction], **changes: Any) -> Outcome:
    values = {"annotated": frozenset({"dent", "scratch"}), **changes}
    return Outcome("a.png", "set", "scene", "above", 100, 100, tuple(truth), tuple(predictions), **values)


def right_and_wrong(*outcomes: Outcome) -> tuple[int, int]:
    """Detections at IoU 0.5, of all sizes."""
    matches = match(outcomes).values()
    right = sum(int(each.hit[0, 0].sum()) for each in matches)
    return right, sum(int(each.judged[0, 0].sum()) for each in matches) - right


def test_what_a_set_does_not_annotate_is_neither_right_nor_wrong() -> None:
    found: list[Prediction] = [("scratch", 0.9, BOX), ("stain", 0.9, AWAY), ("dent", 0.5, AWAY)]
    assert right_and_wrong(outcome([("scratch", BOX)], found)) == (1, 1)
    assert right_and_wrong(outcome([("scratch", BOX)], found, annotated=frozenset({"scratch"}))) == (1, 0)


def test_boxes_of_names_that_are_not_annotated_need_not_be_found() -> None:
    matches = match([outcome([("scratch", BOX), ("stain", AWAY)], [])])
    assert count_boxes(matches) == 1


def test_everything_is_wrong_on_a_good_image() -> None:
    found: list[Prediction] = [("scratch", 0.9, BOX), ("dent", 0.5, AWAY)]
    good = outcome([], found)
    assert good.is_good
    assert right_and_wrong(good) == (0, 2)


def test_a_crowd_swallows_any_number_of_detections() -> None:
    found: list[Prediction] = [
        ("dent", 0.9, (0, 0, 5, 5)),
        ("dent", 0.8, (5, 5, 10, 10)),
        ("dent", 0.7, AWAY),
    ]
    crowded = outcome([], found, crowds=(("dent", BOX),))
    assert right_and_wrong(crowded) == (0, 1)
    assert not crowded.is_good


def test_beside_labels_that_are_not_exhaustive_nothing_is_wrong() -> None:
    found: list[Prediction] = [("dent", 0.9, BOX), ("dent", 0.8, AWAY), ("scratch", 0.8, AWAY)]
    assert right_and_wrong(outcome([("dent", BOX)], found, not_exhaustive=frozenset({"dent"}))) == (1, 1)


def test_a_box_is_found_once_and_the_better_detection_chooses_first() -> None:
    near = (0.0, 0.0, 10.0, 9.0)
    found: list[Prediction] = [("dent", 0.6, BOX), ("dent", 0.9, near)]
    each = match([outcome([("dent", BOX)], found)])["dent"]
    assert each.score.tolist() == [0.9, 0.6]
    assert each.hit[0, 0].tolist() == [True, False]
    # At IoU 0.95 the first one misses, and the second takes its turn.
    assert each.hit[0, -1].tolist() == [False, True]


def test_limits_keep_the_best_detections() -> None:
    found: list[Prediction] = [("dent", 0.1 * n, AWAY) for n in range(1, 6)] + [("scratch", 0.05, BOX)]
    image = outcome([], found)
    assert match([image], Limits(None, 2))["dent"].score.tolist() == pytest.approx([0.5, 0.4])
    assert set(match([image], Limits(5, None))) == {"dent"}


def test_sizes_are_those_of_the_object_and_of_the_image() -> None:
    """10 x 10 of 100 x 100 px is 1 % of the image; the label says that the object itself has 4 px."""
    image = outcome([("dent", BOX)], [("dent", 0.9, BOX)])
    counted = {label: count_boxes(match([image]), label) for label in SIZE_RANGES}
    assert [label for label, count in counted.items() if count] == ["all", "s", "0.1 to 1 %", "1 to 10 %"]
    tiny = outcome([("dent", BOX)], [("dent", 0.9, BOX)], areas=(4.0,))
    assert count_boxes(match([tiny]), "below 0.1 %") == 1
    assert mean_precision(precision_by_name(match([tiny]), "below 0.1 %"))["AP"] == pytest.approx(1.0)
    assert precision_by_name(match([tiny]), "over 10 %") == {}


def test_a_detection_out_of_the_size_range_is_not_wrong_in_it() -> None:
    large = (0.0, 0.0, 99.0, 99.0)
    image = outcome([("dent", BOX)], [("dent", 0.9, large), ("dent", 0.8, BOX)])
    by_size = {size: precision_by_name(match([image]), size)["dent"][0] for size in ("all", "s")}
    assert by_size["all"] == pytest.approx(0.5)
    assert by_size["s"] == pytest.approx(1.0)


def test_image_weights_are_images_repeated() -> None:
    """A weight of 2 is the image twice, one of 0 none: what resampling and parts rely on."""
    rng = np.random.default_rng(0)

    def some() -> Outcome:
        boxes = [
            tuple(np.concatenate([c, c + 9 + 3 * rng.random(2)]).tolist()) for c in rng.random((4, 2)) * 80
        ]
        found = [
            ("dent", float(rng.random()), tuple((np.array(b) + rng.normal(0, 0.6, 4)).tolist()))
            for b in boxes
        ]
        return outcome([("dent", box) for box in boxes[:3]], found)

    images = [some() for _ in range(6)]
    weights = np.array([2.0, 0, 1, 3, 0, 1])
    repeated = [image for image, weight in zip(images, weights, strict=True) for _ in range(int(weight))]
    for figure in (precision_by_name, recall_by_name):
        weighted = figure(match(images), weights=weights)["dent"]
        assert weighted == pytest.approx(figure(match(repeated))["dent"], abs=1e-9)
        assert abs(weighted - figure(match(images))["dent"]).max() > 1e-3
    some_of_them = match(images)["dent"].within(weights > 0)
    expected = precision_by_name(match([image for image, w in zip(images, weights, strict=True) if w]))[
        "dent"
    ]
    assert precision_by_name({"dent": some_of_them})["dent"] == pytest.approx(expected, abs=1e-9)


def test_as_one_name_asks_where_and_not_what() -> None:
    image = outcome(
        [("dent", BOX), ("stain", AWAY)],
        [("scratch", 0.9, BOX), ("stain", 0.8, AWAY)],
        areas=(4.0, 5.0),
        crowds=(("dent", AWAY),),
        not_exhaustive=frozenset({"dent"}),
    )
    merged = image.as_one_name()
    assert merged.truth == ((ANY_NAME, BOX),)
    assert merged.predictions == ((ANY_NAME, 0.9, BOX),)
    assert merged.areas == (4.0,)
    assert merged.crowds == ((ANY_NAME, AWAY),)
    assert merged.annotated == merged.not_exhaustive == {ANY_NAME}
    assert right_and_wrong(image)[0] == 0
    assert right_and_wrong(merged)[0] == 1


def test_no_images_no_names() -> None:
    assert match([]) == {}
    assert match([outcome([], [])]) == {}
    assert np.isnan(mean_precision({})["AP"])
