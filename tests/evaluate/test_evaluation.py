from __future__ import annotations

import json
import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.evaluate import Outcome, evaluate, frequency_groups
from rtvp.evaluate.part import harmonic_mean

BOX = (0.0, 0.0, 10.0, 10.0)
AWAY = (50.0, 50.0, 60.0, 60.0)
NAMES = frozenset({"dent", "scratch"})


def image(
    scene: str,
    truth: str | None,
    found: tuple[str, float] | None,
    place: tuple[float, ...] = BOX,
    group: str = "",
) -> Outcome:
    boxes = () if truth is None else ((truth, BOX),)
    predictions = () if found is None else ((*found, place),)
    return Outcome("", scene, scene, f"above {scene}", 100, 100, boxes, predictions, NAMES, group)  # type: ignore[arg-type]


@pytest.fixture
def outcomes() -> list[Outcome]:
    """Two scenes: in the first all dents are found, in the second of two scratches one, and a false alarm."""
    return [
        image("boards", "dent", ("dent", 0.9)),
        image("boards", "dent", ("dent", 0.8)),
        image("boards", None, None),
        image("wheels", "scratch", ("scratch", 0.9)),
        image("wheels", "scratch", ("dent", 0.7)),
        image("wheels", None, ("scratch", 0.6)),
        image("wheels", None, None),
    ]


def test_figures_of_everything(outcomes: list[Outcome]) -> None:
    evaluation = evaluate(outcomes, threshold=0.5)
    assert (evaluation.images, evaluation.good, evaluation.boxes) == (7, 3, 4)
    figures = evaluation.figures
    scratch = 51 / 101  # recall 0 to 0.5 at precision 1
    assert figures["AP"] == figures["AP50"] == pytest.approx((1 + scratch) / 2)
    assert figures["AR100"] == pytest.approx(0.75)
    assert figures["APs"] == figures["AP"]  # all are small
    assert math.isnan(figures["APl"])
    # The wrong name in the right place is right for whoever asks where only.
    assert figures["AP_agnostic"] == pytest.approx(1.0)
    assert figures["false_per_good"] == pytest.approx(1 / 3)
    assert figures["false_alarm_rate"] == pytest.approx(1 / 3)
    assert figures["miss_rate"] == 0
    assert figures["auroc"] == 1.0
    point = evaluation.operating_point
    assert point.threshold == 0.5
    assert (point.precision, point.recall) == pytest.approx((3 / 5, 3 / 4))
    assert evaluation.best_f1.recall == pytest.approx(0.75)
    assert evaluation.best_f1.precision == pytest.approx(1.0)  # just above 0.7: two dents, one scratch


def test_tables(outcomes: list[Outcome]) -> None:
    evaluation = evaluate(outcomes, threshold=0.5)
    assert list(evaluation.scenes) == ["boards", "wheels"]
    assert list(evaluation.super_categories) == ["above boards", "above wheels"]
    boards, wheels = evaluation.scenes.values()
    assert (boards["images"], boards["good"], boards["boxes"]) == (3, 1, 2)
    assert boards["AP"] == pytest.approx(1.0)
    assert wheels["AP"] == pytest.approx(51 / 101)
    assert wheels["false_per_good"] == 0.5
    for key in ("AP", "AP50_agnostic", "false_per_good", "auroc"):
        assert evaluation.figures[f"{key}_scenes"] == pytest.approx(fmean([boards[key], wheels[key]]))
    assert evaluation.categories["dent"] == pytest.approx(
        {"images": 2, "boxes": 2, "AP": 1.0, "AP50": 1.0, "precision": 2 / 3, "recall": 1.0}
    )
    assert evaluation.categories["scratch"]["recall"] == 0.5
    assert {label: row["boxes"] for label, row in evaluation.sizes.items()} == {
        "below 0.1 %": 0,
        "0.1 to 1 %": 4,  # 1 % exactly is in both
        "1 to 10 %": 4,
        "over 10 %": 0,
    }


def test_seen_and_unseen(outcomes: list[Outcome]) -> None:
    assert "AP_seen" not in evaluate(outcomes).figures
    figures = evaluate(outcomes, seen=["dent", "never labelled"], unseen=["scratch"]).figures
    assert figures["AP_seen"] == pytest.approx(1.0)
    assert figures["AP50_unseen"] == pytest.approx(51 / 101)
    assert figures["AP_harmonic"] == pytest.approx(2 * (51 / 101) / (1 + 51 / 101))
    assert math.isnan(evaluate(outcomes, seen=["dent"], unseen=["x"]).figures["AP_harmonic"])
    assert harmonic_mean(0.0, 0.0) == 0.0


def test_frequencies(outcomes: list[Outcome]) -> None:
    groups = frequency_groups({"dent": 9, "scratch": 10, "a": 99, "b": 100})
    assert groups == {"dent": "r", "scratch": "c", "a": "c", "b": "f"}
    figures = evaluate(outcomes, frequencies=groups).figures
    assert figures["APr"] == pytest.approx(1.0)
    assert figures["APc"] == pytest.approx(51 / 101)
    assert math.isnan(figures["APf"])


def test_without_a_threshold_the_best_one_is_taken(outcomes: list[Outcome]) -> None:
    evaluation = evaluate(outcomes)
    assert evaluation.operating_point.threshold == pytest.approx(0.75)
    assert evaluation.operating_point.f1 == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert evaluation.figures["false_per_good"] == 0


def test_intervals_hold_the_figure_and_repeat(outcomes: list[Outcome]) -> None:
    assert evaluate(outcomes).intervals == {}
    calls: list[None] = []
    many = outcomes * 5
    evaluation = evaluate(many, bootstrap=60, seed=1, on_resample=lambda: calls.append(None))
    assert len(calls) == 60
    assert evaluation.intervals == evaluate(many, bootstrap=60, seed=1).intervals
    assert evaluation.intervals != evaluate(many, bootstrap=60, seed=2).intervals
    for key in ("AP", "AP50_agnostic", "auroc", "AP_scenes", "false_per_good"):
        low, high = evaluation.intervals[key]
        assert low <= evaluation.figures[key] <= high
    assert evaluation.intervals["AP"][0] < evaluation.intervals["AP"][1]


def test_copies_in_one_group_make_an_interval_no_narrower(outcomes: list[Outcome]) -> None:
    """Ten copies of an image are ten images, unless they are told to be one group."""
    alone = [each for each in outcomes for _ in range(10)]
    grouped = [
        image(
            o.scene,
            o.truth[0][0] if o.truth else None,
            o.predictions[0][:2] if o.predictions else None,
            BOX,
            str(n),
        )
        for n, o in enumerate(outcomes)
        for _ in range(10)
    ]
    widths = [np.diff(evaluate(each, bootstrap=80).intervals["AP"]).item() for each in (alone, grouped)]
    assert widths[1] > 1.5 * widths[0]


def test_json_has_no_nan(outcomes: list[Outcome]) -> None:
    content = evaluate(outcomes, bootstrap=3).to_json()
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text) == content
    assert content["figures"]["APl"] is None
    assert set(content["operating_point"]) == {"threshold", "precision", "recall", "f1"}
    assert isinstance(content["intervals"]["AP"], list)


def test_nothing_at_all() -> None:
    evaluation = evaluate([], bootstrap=2)
    assert evaluation.images == 0
    assert evaluation.to_json()["figures"]["AP"] is None


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["dent", "scratch", None]), st.integers(1, 99)), min_size=1, max_size=8
    )
)
def test_only_the_order_of_the_scores_decides_average_precision(
    cases: list[tuple[str | None, int]],
) -> None:
    def figures(power: float) -> dict[str, float]:
        return evaluate([image("s", name, ("dent", score**power)) for name, score in cases]).figures

    first, second = figures(1.0), figures(0.5)
    for key in ("AP", "AP_agnostic", "auroc", "AR10"):
        assert first[key] == pytest.approx(second[key], nan_ok=True)
        assert math.isnan(first[key]) or 0 <= first[key] <= 1
