"""Thresholds from a user's own good parts, with the false alarms that may be expected of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.tiling import Tiling
from rtvp.types import Prompt

FORMAT, VERSION = "rtvp-calibration", 2
CONFIDENCE = 0.95
SMALLEST_SCORE = 1e-4  # scores are compared as logits, and below this all are the same
LOGIT_STEP = 1e-6  # beside a score, so that rounding puts it on neither side
LEVEL_SHARE = 4  # one image in four says how high each prompt's scores are on good parts
LEVEL_QUANTILE = 0.9
FEWEST_FOR_LEVELS = 40

Target: TypeAlias = Literal["false alarms", "misses"]
Scores: TypeAlias = NDArray[np.float64]  # [images, prompts], the presence of each


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many images, and what that says about others.

    Attributes:
        count: images that it happened to.
        images: images in all.
        low: lower end of the exact (Clopper-Pearson) interval.
        high: upper end.
    """

    count: int
    images: int
    low: float
    high: float

    @classmethod
    def of(cls, count: int, images: int, confidence: float) -> Rate:
        """The two-sided interval of ``confidence``."""
        from scipy.stats import binomtest  # half a second, which detection does not pay

        interval = binomtest(count, images).proportion_ci(confidence, method="exact")
        return cls(count, images, float(interval.low), float(interval.high))

    def __str__(self) -> str:
        return f"{self.count} of {self.images} ({100 * self.low:.1f} to {100 * self.high:.1f} %)"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds of prompts, and what they promise.

    Attributes:
        thresholds: prompt name -> score that a detection has to exceed.
        target: what is kept low.
        rate: how low, in (0, 1).
        confidence: that it is so low on other images of the same kind: the chance of having drawn images that
            do not mislead.
        false_alarms: good images found NOT OK, of those that decided the threshold where ``target`` says so.
        misses: defective images found OK, None if there were none.
        settings: what decides the scores, as `Detector.settings` tells.
    """

    thresholds: Mapping[str, float]
    target: Target
    rate: float
    confidence: float
    false_alarms: Rate
    misses: Rate | None
    settings: Mapping[str, Any]

    def for_settings(self, settings: Mapping[str, Any]) -> tuple[float, ...]:
        """The threshold of each prompt, in their order.

        Args:
            settings: what decides the scores now, as `Detector.settings` tells.

        Raises:
            RtvpError: other prompts, or another model, input size or tiling, than were calibrated.
        """
        ours, theirs = dict(self.settings), dict(settings)
        # Text-visual interaction: each prompt has a say in the scores of the others. Their order has none.
        known, asked = _by_name(ours.pop("prompts")), _by_name(theirs.pop("prompts"))
        if known.keys() != asked.keys():
            before, now = ", ".join(known), ", ".join(asked)
            raise RtvpError(f"calibration: expected the prompts {before}, got {now}: calibrate anew")
        for what, value, other in (
            *((what, ours[what], theirs[what]) for what in theirs),
            *((f"the texts of {name}", known[name], asked[name]) for name in asked),
        ):
            if value != other:
                raise RtvpError(f"calibration: it was made with {what} {value}, got {other}: calibrate anew")
        return tuple(self.thresholds[name] for name in asked)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """What it was made with."""
        return tuple(Prompt(name, tuple(texts)) for name, texts in _by_name(self.settings["prompts"]).items())

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            RtvpError: the file cannot be written.
        """
        with replacing(path) as temporary:
            content = {"format": FORMAT, "version": VERSION, **asdict(self)}
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """What `save` wrote.

        Raises:
            RtvpError: the file is missing or is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RtvpError(f"{path}: expected what `rtvp calibrate` wrote ({error})") from error
        try:
            return cls._from_json(content)
        except (KeyError, TypeError, ValueError) as error:
            raise RtvpError(f"{path}: expected what `rtvp calibrate` wrote, got another file") from error

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> Calibration:
        if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
            raise ValueError
        content["false_alarms"] = Rate(**content["false_alarms"])
        content["misses"] = None if content["misses"] is None else Rate(**content["misses"])
        content["thresholds"] = {str(name): float(value) for name, value in content["thresholds"].items()}
        if not all(0 <= value <= 1 for value in content["thresholds"].values()):
            raise ValueError
        settings = content["settings"]
        if settings.keys() != score_settings("", "", 0, (), None).keys():
            raise ValueError
        if settings["tile"] is not None:
            Tiling(**settings["tile"])
        if _by_name(settings["prompts"]).keys() != content["thresholds"].keys():
            raise ValueError
        return cls(**content)


def score_settings(
    model: str, weights: str, input_size: int, prompts: Sequence[Prompt], tiling: Tiling | None
) -> dict[str, Any]:
    """What decides the scores, for JSON.

    Args:
        model: its name.
        weights: their digest.
        input_size: side of the network input, px.
        prompts: all that are looked for together.
        tiling: how images are cut.
    """
    return {
        "model": model,
        "weights": weights,
        "input_size": input_size,
        "tile": None if tiling is None else asdict(tiling),
        "prompts": [{"name": prompt.name, "texts": list(prompt.texts)} for prompt in prompts],
    }


def _by_name(prompts: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    return {str(prompt["name"]): list(prompt["texts"]) for prompt in prompts}


@dataclass(frozen=True, slots=True)
class Curve:
    """What other thresholds would do: over all of them, from strict to lax.

    Attributes:
        false_alarms: [T] share of the good images that are found NOT OK.
        misses: [T] share of the defective images that are found OK; None without such images.
        chosen: index of the thresholds that were chosen.
    """

    false_alarms: NDArray[np.float64]
    misses: NDArray[np.float64] | None
    chosen: int


def choose_thresholds(
    good: Scores, defective: Scores | None, target: Target, rate: float, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], Rate, Rate | None, Curve]:
    """A threshold a prompt, so that ``target`` happens to at most ``rate`` of other images.

    An image is judged by its highest score, each prompt's measured from its own level: where enough good
    images are there, a quarter of them says how high each prompt fires on good parts. The threshold over that
    level is an order statistic of the images that are left. That at most ``rate`` of all images lie beyond
    the j-th of n has the probability of at least j successes in n draws of chance ``rate``, whatever the
    scores' distribution (Wilks 1941); the largest j that ``confidence`` allows is taken.

    Args:
        good: [N, K] the presence of each prompt in each good image.
        defective: the same of defective images; needed where ``target`` is misses.
        target: what is kept low.
        rate: how low.
        confidence: of the promise.

    Returns:
        [K] thresholds; false alarms and misses of the images that had no part in the levels; the trade-off.

    Raises:
        RtvpError: a rate or confidence outside (0, 1), or too few images for the promise, and how many it
            takes.
    """
    for what, value in (("rate", rate), ("confidence", confidence)):
        if not 0 < value < 1:
            raise RtvpError(f"{what}: expected a number between 0 and 1, got {value}")
    good_logits = _logits(good)
    levels = np.zeros(good.shape[1])
    judged = good_logits
    measured = np.arange(len(good)) % LEVEL_SHARE == 0
    needed = images_needed(rate, confidence) if target == "false alarms" else 0
    if good.shape[1] > 1 and len(good) >= FEWEST_FOR_LEVELS and (~measured).sum() >= needed:
        levels = np.quantile(good_logits[measured], LEVEL_QUANTILE, axis=0)
        judged = good_logits[~measured]
    heights = (judged - levels).max(axis=1)
    defective_heights = None if defective is None else (_logits(defective) - levels).max(axis=1)
    if target == "false alarms":
        rank = _rank(len(heights), rate, confidence, "good")
        limit = float(np.sort(heights)[-rank]) + LOGIT_STEP
    else:
        if defective_heights is None:
            raise RtvpError("target misses: expected defective images, got none")
        rank = _rank(len(defective_heights), rate, confidence, "defective")
        limit = float(np.sort(defective_heights)[rank - 1]) - LOGIT_STEP
    false_alarms = Rate.of(int((heights > limit).sum()), len(heights), confidence)
    misses = None
    if defective_heights is not None:
        misses = Rate.of(int((defective_heights <= limit).sum()), len(defective_heights), confidence)
    thresholds = 1 / (1 + np.exp(-(limit + levels)))
    return thresholds, false_alarms, misses, _curve(heights, defective_heights, limit)


def images_needed(rate: float, confidence: float = CONFIDENCE) -> int:
    """The fewest images of which a threshold can promise ``rate``: none of them may be beyond it."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - rate))


def _rank(images: int, rate: float, confidence: float, kind: str) -> int:
    """How many images, at most, may lie at or beyond the threshold."""
    from scipy.stats import binom

    ranks = np.arange(1, images + 1)
    allowed = ranks[binom.sf(ranks - 1, images, rate) >= confidence]
    if not len(allowed):
        best = 1 - (1 - confidence) ** (1 / max(1, images))
        raise RtvpError(
            f"{images} {kind} images that decide cannot promise a rate of {rate:g} with confidence "
            f"{confidence:g}: at least {images_needed(rate, confidence)} are needed; the best that these can "
            f"promise is {best:.3f}"
        )
    return int(allowed[-1])


def _logits(scores: Scores) -> Scores:
    clipped = scores.astype(np.float64).clip(SMALLEST_SCORE, 1 - SMALLEST_SCORE)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)


def _curve(good: Scores, defective: Scores | None, limit: float) -> Curve:
    limits = np.unique(np.concatenate([good, [limit], [] if defective is None else defective]))[::-1]
    false_alarms = (good > limits[:, None]).mean(axis=1)
    misses = None if defective is None else (defective <= limits[:, None]).mean(axis=1)
    return Curve(false_alarms, misses, int(np.flatnonzero(limits == limit)[0]))
