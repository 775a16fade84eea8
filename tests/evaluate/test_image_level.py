from __future__ import annotations

import math

import numpy as np
import pytest

from rtvp.evaluate.image_level import Verdicts, auroc
from rtvp.evaluate.outcome import Outcome, Prediction, Truth

BOX = (0.0, 0.0, 10.0, 10.0)


def image(truth: list[str], scores: list[float], annotated: tuple[str, ...] = ("dent",)) -> Outcome:
    boxes: tuple[Truth, ...] = tuple((name, BOX) for name in truth)
    found: tuple[Prediction, ...] = tuple(("dent", score, BOX) for score in scores)
    return Outcome("", "", "", "", 20, 20, boxes, found, frozenset(annotated))


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_the_share_of_pairs_in_the_right_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, 60) / 8  # many ties
    defective = rng.random(60) < 0.4
    good = ~defective & (rng.random(60) < 0.8)  # some are neither
    pairs = [(p > n) + (p == n) / 2 for p in scores[defective] for n in scores[good]]
    assert auroc(scores, defective.astype(float), good.astype(float)) == pytest.approx(np.mean(pairs))


def test_auroc_counts_weights_as_repetitions() -> None:
    scores, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([0.0, 2, 0, 3])
    negative = np.array([2.0, 0, 1, 0])
    repeated = auroc(
        np.array([0.4, 0.4, 0.9, 0.9, 0.9, 0.1, 0.1, 0.4]),
        np.repeat([1.0, 0], [5, 3]),
        np.repeat([0, 1.0], [5, 3]),
    )
    assert auroc(scores, positive, negative) == pytest.approx(repeated)


def test_auroc_needs_both_kinds() -> None:
    assert math.isnan(auroc(np.array([0.5]), np.ones(1), np.zeros(1)))
    assert math.isnan(auroc(np.empty(0), np.empty(0), np.empty(0)))


def test_alarms_and_misses_at_the_threshold() -> None:
    images = [
        image([], [0.9, 0.6, 0.2]),  # good: two false detections
        image([], [0.5]),  # good: a score has to exceed the threshold
        image(["dent"], [0.3]),  # missed
        image(["dent"], [0.8]),
        image(["dent"], []),  # missed
        image(["stain"], [0.9]),  # defective in a way that nobody asked for: no case at all
    ]
    figures = Verdicts.of(images, 0.5).figures(np.ones(6))
    assert figures["false_per_good"] == 1.0
    assert figures["false_alarm_rate"] == 0.5
    assert figures["miss_rate"] == pytest.approx(2 / 3)
    assert figures["auroc"] == pytest.approx(1 / 6)  # of 0.3, 0.8, 0 against 0.9, 0.5: one pair in order
    weighted = Verdicts.of(images, 0.5).figures(np.array([0.0, 1, 1, 3, 0, 5]))
    assert weighted["false_per_good"] == 0
    assert weighted["miss_rate"] == 0.25
