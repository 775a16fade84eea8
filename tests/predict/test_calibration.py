from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.errors import RtvpError
from rtvp.predict import Calibration, Detector
from rtvp.predict.calibration import Rate, Target, choose_thresholds, images_needed


def draw(seed: int, images: int, prompts: int = 3, shift: float = 0.0) -> np.ndarray:
    """Scores of prompts that fire at different heights, not independently of each other."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, prompts)) + rng.normal(size=(images, 1)) + np.linspace(-3, 0, prompts)
    return 1 / (1 + np.exp(-(logits + shift)))


@pytest.mark.parametrize(("rate", "expected"), [(0.01, 299), (0.05, 59), (0.5, 5)])
def test_images_needed(rate: float, expected: int) -> None:
    assert images_needed(rate, 0.95) == expected


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("target", ["false alarms", "misses"])
def test_the_promise_is_kept_on_other_images(prompts: int, target: Target) -> None:
    """Of 300 calibrations at most about one in twenty breaks a promise of 95 %."""
    broken, reached = 0, []
    fresh_good, fresh_bad = draw(10**6, 20_000, prompts), draw(10**6 + 1, 20_000, prompts, 3)
    for seed in range(300):
        good, bad = draw(seed, 240, prompts), draw(seed + 1000, 150, prompts, 3)
        thresholds, *_ = choose_thresholds(good, bad, target, 0.05)
        alarms = (fresh_good > thresholds).any(axis=1).mean()
        misses = (fresh_bad <= thresholds).all(axis=1).mean()
        reached.append(alarms if target == "false alarms" else misses)
        broken += reached[-1] > 0.05
    assert broken <= 0.09 * 300
    assert np.mean(reached) > 0.01, "the promise is not bought with a threshold that finds nothing"


def test_each_prompt_has_its_own_level() -> None:
    """One prompt fires high on every good part: it gets a high threshold, the other keeps a low one."""
    rng = np.random.default_rng(0)
    good = np.stack([rng.uniform(0.5, 0.7, 400), rng.uniform(0.01, 0.05, 400)], axis=1)
    (loud, quiet), *_ = choose_thresholds(good, None, "false alarms", 0.05)
    assert 0.6 < loud < 0.8
    assert 0.03 < quiet < 0.1


def test_figures_are_of_images_that_had_no_part_in_the_levels() -> None:
    _, alarms, misses, curve = choose_thresholds(draw(0, 400), draw(1, 50, shift=3), "false alarms", 0.05)
    assert alarms.images == 300
    assert alarms.count <= 0.05 * 300
    assert misses is not None and misses.images == 50
    assert (np.diff(curve.false_alarms) >= 0).all()
    assert curve.misses is not None and (np.diff(curve.misses) <= 0).all()
    assert curve.false_alarms[curve.chosen] == pytest.approx(alarms.count / 300)
    assert curve.misses[curve.chosen] == pytest.approx(misses.count / 50)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.2, 0.4]))
def test_a_laxer_promise_never_gives_a_higher_threshold(seed: int, rate: float) -> None:
    good = draw(seed, 200)
    strict, *_ = choose_thresholds(good, None, "false alarms", rate)
    lax, *_ = choose_thresholds(good, None, "false alarms", rate + 0.1)
    assert (lax <= strict).all()


def test_ties_are_no_false_alarms() -> None:
    """Scores of exactly the threshold do not exceed it."""
    good = np.full((100, 1), 0.3)
    thresholds, alarms, *_ = choose_thresholds(good, None, "false alarms", 0.05)
    assert thresholds[0] == pytest.approx(0.3)
    assert alarms.count == 0


@pytest.mark.parametrize(
    ("images", "target", "rate", "message"),
    [
        (40, "false alarms", 0.01, "40 good images .* of 0.01 .* at least 299 are needed; .* 0.072"),
        (40, "misses", 0.05, "8 defective images that decide .* at least 59"),
        (40, "false alarms", 1.5, "rate: expected a number between 0 and 1, got 1.5"),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_is_told(images: int, target: Target, rate: float, message: str) -> None:
    with pytest.raises(RtvpError, match=message):
        choose_thresholds(draw(0, images), draw(1, 8), target, rate)


def test_rate_is_clopper_pearson() -> None:
    rate = Rate.of(0, 59, 0.9)
    assert (rate.low, rate.high) == (0.0, pytest.approx(1 - 0.05 ** (1 / 59)))
    assert str(Rate.of(2, 40, 0.95)) == "2 of 40 (0.6 to 16.9 %)"


@pytest.fixture
def calibration() -> Calibration:
    rate = Rate(1, 100, 0.0, 0.05)
    prompts = [{"name": "red", "texts": []}, {"name": "green", "texts": []}]
    settings = {"model": "colours", "weights": "", "input_size": 256, "tile": None, "prompts": prompts}
    return Calibration({"red": 0.9, "green": 0.2}, "false alarms", 0.05, 0.95, rate, None, settings)


def test_saved_and_read(calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path / "new" / "c.json")
    assert Calibration.read(tmp_path / "new" / "c.json") == calibration
    for content in (
        "{",
        "[]",
        '{"format": "rtvp-detections"}',
        '{"format": "rtvp-calibration", "version": 1}',
    ):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(RtvpError, match=r"bad\.json: expected what `rtvp calibrate` wrote"):
            Calibration.read(tmp_path / "bad.json")
    settings = {"prompts": calibration.settings["prompts"]}
    for part in (
        {"thresholds": {"red": 7}},
        {"thresholds": {"red": 0.5}},
        {"settings": {}},
        {"settings": settings},
    ):
        wrong = json.loads((tmp_path / "new" / "c.json").read_text()) | part
        (tmp_path / "bad.json").write_text(json.dumps(wrong))
        with pytest.raises(RtvpError, match="got another file"):
            Calibration.read(tmp_path / "bad.json")


def test_each_prompt_is_held_to_its_threshold(
    calibration: Calibration, colour_detector: Detector, red_square: np.ndarray
) -> None:
    image = red_square // 2 + np.roll(red_square // 2, 1, axis=2)  # scores 0.484, red and green alike
    result = colour_detector.detect(image, "green, red", threshold=calibration)
    assert result.labels == ["green"]
    assert result.threshold == (0.2, 0.9)
    assert result.verdict == "NOT OK"
    for part in ("red", "red, green, blue"):  # every prompt has a say in the scores of the others
        with pytest.raises(RtvpError, match=f"expected the prompts red, green, got {part}: calibrate anew"):
            colour_detector.detect(image, part, threshold=calibration)


def test_a_calibration_of_something_else_is_refused(
    calibration: Calibration, colour_detector: Detector, red_square: np.ndarray
) -> None:
    with pytest.raises(RtvpError, match="expected the prompts red, green, got red, blue: calibrate anew"):
        colour_detector.detect(red_square, "red, blue", threshold=calibration)
    with pytest.raises(RtvpError, match=r"it was made with tile None, got \{'side': None, 'overlap': 0.2"):
        colour_detector.detect(red_square, "red, green", threshold=calibration, tile="auto")
    with pytest.raises(RtvpError, match=r"made with the texts of green \[\], got \['lawn'\]: calibrate anew"):
        colour_detector.detect(red_square, "red, green: lawn", threshold=calibration)
    colour_detector.digest = "0123"
    with pytest.raises(RtvpError, match="it was made with weights , got 0123"):
        colour_detector.detect(red_square, "red, green", threshold=calibration)
    colour_detector.name = "other"
    with pytest.raises(RtvpError, match="it was made with model colours, got other"):
        colour_detector.detect(red_square, "red, green", threshold=calibration)
