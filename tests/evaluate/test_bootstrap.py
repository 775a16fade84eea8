from __future__ import annotations

import math

import numpy as np
import pytest

from rtvp.evaluate.bootstrap import intervals_of, resamples


def test_as_many_images_are_drawn_as_there_are() -> None:
    draws = np.array(list(resamples([""] * 50, 300, seed=0)))
    assert (draws.sum(axis=1) == 50).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(50), abs=0.3)
    assert (draws == 0).mean() == pytest.approx(math.exp(-1), abs=0.02)


def test_groups_stay_together_and_images_without_one_stand_alone() -> None:
    groups = ["a", "", "b", "a", ""]
    draws = np.array(list(resamples(groups, 200, seed=1)))
    assert (draws[:, 0] == draws[:, 3]).all()
    assert (draws[:, 1] != draws[:, 4]).any()
    assert (draws[:, [0, 1, 2, 4]].sum(axis=1) == 4).all()  # four groups


def test_the_seed_decides() -> None:
    first, again, other = (np.array(list(resamples([""] * 9, 5, seed))) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_the_interval_of_a_mean_is_the_known_one() -> None:
    """Of 400 values of standard deviation 1 the mean has a 95 % interval of about +- 1.96 / 20."""
    values = np.random.default_rng(0).standard_normal(400)
    samples = [{"mean": float(weights @ values / 400)} for weights in resamples([""] * 400, 1000, seed=0)]
    low, high = intervals_of(samples)["mean"]
    assert (high - low) / 2 == pytest.approx(1.96 / 20, rel=0.1)
    assert low < values.mean() < high


def test_what_cannot_be_measured_in_a_resample_does_not_count() -> None:
    intervals = intervals_of([{"a": 1.0, "b": math.nan}, {"a": math.nan, "b": math.nan}])
    assert intervals["a"] == (1.0, 1.0)
    assert math.isnan(intervals["b"][0])
    assert intervals_of([]) == {}
