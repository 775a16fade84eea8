import math

import pytest
from box_lists import best_f1

from rtvp.evaluate.matching import match
from rtvp.evaluate.outcome import Outcome
from rtvp.evaluate.threshold import best_mean, best_pooled, point_at

BOX = (0.0, 0.0, 10.0, 10.0)
AWAY = (50.0, 50.0, 60.0, 60.0)


def test_separates_hits_from_false_alarms() -> None:
    truth = [[("scratch", BOX)], [("dent", BOX)], []]
    predictions = [
        [("scratch", 0.9, BOX), ("scratch", 0.3, AWAY)],
        [("dent", 0.7, BOX)],
        [("scratch", 0.2, BOX)],
    ]
    point = best_f1(truth, predictions)
    assert 0.3 <= point.threshold < 0.7
    assert point[1:] == (1.0, 1.0, 1.0)


def test_a_box_is_hit_once_and_only_by_its_name() -> None:
    truth = [[("scratch", BOX)]]
    predictions = [[("scratch", 0.9, BOX), ("scratch", 0.8, BOX), ("dent", 0.95, BOX)]]
    point = best_f1(truth, predictions)
    # The wrong name comes first, so the best that can be had is one hit of two.
    assert point.precision == pytest.approx(0.5)
    assert point.recall == 1.0
    assert 0.8 <= point.threshold < 0.9


def test_equal_scores_stand_or_fall_together() -> None:
    truth = [[("scratch", BOX)], []]
    predictions = [[("scratch", 0.5, BOX)], [("scratch", 0.5, BOX)]]
    assert best_f1(truth, predictions).precision == pytest.approx(0.5)


def test_nothing_to_find_or_nothing_found() -> None:
    assert best_f1([[]], [[("scratch", 0.5, BOX)]]).threshold == 1.0
    assert best_f1([[("scratch", BOX)]], [[]]).recall == 0.0


def outcomes(cases: list[tuple[str | None, str, float]]) -> list[Outcome]:
    """One image each: what is labelled there, what is found in its place, and the score."""
    return [
        Outcome("", "", "", "", 60, 60, ((label, BOX),) if label else (), ((found, score, BOX),), NAMES)
        for label, found, score in cases
    ]


NAMES = frozenset({"scratch", "dent"})
# Many scratches, found with high scores; few dents, found with low ones beside a false alarm.
CASES: list[tuple[str | None, str, float]] = [
    *[("scratch", "scratch", 0.9)] * 8,
    *[("dent", "dent", 0.2)] * 2,
    *[(None, "scratch", 0.3)] * 3,
]


def test_the_mean_over_names_is_not_the_pool() -> None:
    matches = match(outcomes(CASES))
    pooled, mean = best_pooled(matches), best_mean(matches)
    assert pooled.threshold == pytest.approx(0.6)
    assert (pooled.precision, pooled.recall) == pytest.approx((1.0, 0.8))
    assert mean.threshold == pytest.approx(0.1)
    assert mean.precision == pytest.approx((8 / 11 + 1) / 2)
    assert mean.recall == 1.0
    assert mean.f1 == pytest.approx((16 / 19 + 1) / 2)


def test_the_point_of_a_threshold_is_what_exceeds_it() -> None:
    matches = match(outcomes(CASES))
    assert point_at(matches, 0.2)[1:3] == pytest.approx((8 / 11, 0.8))
    assert point_at(matches, 0.19)[1:3] == pytest.approx((10 / 13, 1.0))
    assert point_at(matches, 0.95) == (0.95, 0.0, 0.0, 0.0)
    for best in (best_pooled(matches), best_f1([], [])):
        assert best.f1 == pytest.approx(point_at(matches, best.threshold).f1)
    assert math.isnan(point_at({}, 0.5).recall)


def test_what_is_neither_right_nor_wrong_does_not_lower_precision() -> None:
    cases: list[tuple[str | None, str, float]] = [*CASES, (None, "stain", 0.95)]
    assert best_pooled(match(outcomes(cases))) == best_pooled(match(outcomes(CASES)))
