"""Pairing detections, and what counts as the same."""

from __future__ import annotations

import numpy as np
import pytest

from rtvp.data.labelled import LabelledSet
from rtvp.evaluate.outcome import Outcome
from rtvp.export.verify import BEST, Comparison, Pair, pair_up
from rtvp.types import Detections


def detections(*rows: tuple[float, int, float]) -> Detections:
    """Rows of score, label and left edge: boxes of 10 x 10 px."""
    edges = np.array([[left, 0.0, left + 10, 10.0] for _, _, left in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for score, _, _ in rows], np.float32)
    return Detections(edges, scores, np.array([label for _, label, _ in rows], np.int64))


def test_what_is_equal_is_the_same() -> None:
    found = detections((0.9, 0, 0), (0.5, 1, 0), (0.1, 0, 50))
    assert [pair.same for pair in pair_up(found, found, 0.25)] == [True] * 3


def test_near_ties_may_trade_places() -> None:
    expected = detections((0.9, 0, 0), (0.5003, 0, 100), (0.5001, 1, 200))
    found = detections((0.9, 0, 0), (0.5002, 1, 200), (0.5001, 0, 100))
    assert all(pair.same for pair in pair_up(expected, found, 0.25))


def test_another_order_is_not_the_same() -> None:
    expected = detections((0.9, 0, 0), (0.5, 0, 100))
    found = detections((0.9, 0, 100), (0.5, 0, 0))
    pairs = pair_up(expected, found, 0.25)
    assert [pair.iou for pair in pairs] == [1.0, 1.0]
    assert not any(pair.in_order or pair.same for pair in pairs)


def test_a_box_is_paired_once_and_within_its_label() -> None:
    expected = detections((0.9, 0, 0), (0.8, 0, 1), (0.7, 1, 0))
    found = detections((0.9, 0, 0))
    assert [round(pair.iou, 3) for pair in pair_up(expected, found, 0.25)] == [1.0, 0.0, 0.0]
    assert [pair.iou for pair in pair_up(expected, detections(), 0.25)] == [0.0] * 3
    assert pair_up(detections(), found, 0.25) == []


@pytest.mark.parametrize("move, same", [(0.02, True), (0.2, False)])
def test_a_moved_box_is_not_the_same(move: float, same: bool) -> None:
    (pair,) = pair_up(detections((0.9, 0, 0)), detections((0.9, 0, move)), 0.25)
    assert pair.iou == pytest.approx((10 - move) / (10 + move), abs=1e-4)
    assert pair.same == same


@pytest.mark.parametrize("score, same", [(0.9005, True), (0.903, False)])
def test_another_score_is_not_the_same(score: float, same: bool) -> None:
    (pair,) = pair_up(detections((0.9, 0, 0)), detections((score, 0, 0)), 0.25)
    assert pair.same == same


def test_the_best_and_all_over_the_threshold_are_compared() -> None:
    many = detections(*((0.9 - 0.01 * i, 0, 20.0 * i) for i in range(50)))
    assert len(pair_up(many, many, 0.25)) == 50
    assert len(pair_up(many, many, 0.95)) == BEST
    assert len(pair_up(many, many, 0.9 - 0.295)) == 30


def labelled_outcome(score: float) -> Outcome:
    """One box of a scratch; what is found has this score, and a false one has 0.5."""
    return Outcome(
        image=str(score),
        source="set",
        scene="scene",
        super_category="",
        width=100,
        height=100,
        truth=(("scratch", (0.0, 0.0, 10.0, 10.0)),),
        predictions=(
            ("scratch", score, (0.0, 0.0, 10.0, 10.0)),
            ("scratch", 0.5, (50.0, 50.0, 60.0, 60.0)),
        ),
        annotated=frozenset({"scratch"}),
    )


def test_tolerances() -> None:
    same, other = Pair(1.0, 0.0, True), Pair(0.9, 0.01, True)
    assert Comparison([same] * 3).problem("float32") is None
    assert Comparison([same, other]).problem("float32") == "1 of 2 boxes differ from those of the checkpoint"
    assert Comparison([same, other]).problem("int8") is None
    assert Comparison([same, other]).same_share == 0.5
    assert Comparison().problem("float32") is None
    worse = Comparison([same], 1, ([labelled_outcome(0.9)], [labelled_outcome(0.1)]))
    assert worse.precisions() == (pytest.approx(1.0), pytest.approx(0.5, abs=0.01))
    for precision in ("float32", "int8"):
        assert "AP falls from 1.0000 to 0.5" in (worse.problem(precision) or "")  # type: ignore[arg-type]
    better = Comparison([same], 1, ([labelled_outcome(0.1)], [labelled_outcome(0.9)]))
    assert better.problem("int8") is None


def test_labels_are_judged_by_what_both_find() -> None:
    from pathlib import Path

    from rtvp.mmio.schema import Annotation, ImageRecord
    from rtvp.types import Prompt

    record = ImageRecord(Path("a.png"), 100, 100, (Annotation("dent", (0.0, 0.0, 10.0, 10.0)),), "a")
    labelled = LabelledSet("set", "scene", "", (record,), frozenset({"dent"}))
    comparison = Comparison()
    right, wrong = detections((0.9, 0, 0)), detections((0.9, 0, 60))
    comparison.add_labels(right, wrong, labelled, record, [Prompt("dent")])
    assert comparison.precisions() == (pytest.approx(1.0), pytest.approx(0.0))
