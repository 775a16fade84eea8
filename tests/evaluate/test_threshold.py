import pytest

from rtvp.evaluate.threshold import best_f1

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
