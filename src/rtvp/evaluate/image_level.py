"""Verdicts over whole images: is it defective, and how often is a good one called so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtvp.evaluate.matching import Bools, Floats
from rtvp.evaluate.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is said of I images.

    Every detection speaks, whatever its name: a verdict does not depend on what the defect is called.

    Attributes:
        score: [I] the best score of a detection, 0 without any.
        alarms: [I] detections above the threshold.
        good: [I] whether nothing is labelled.
        defective: [I] whether a box is labelled that was looked for; neither, where others alone are.
    """

    score: Floats
    alarms: Floats
    good: Bools
    defective: Bools

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], threshold: float) -> Verdicts:
        """The verdicts of outcomes, at a score that detections have to exceed."""
        scores = [[score for _, score, _ in outcome.predictions] for outcome in outcomes]
        return cls(
            np.array([max(each, default=0.0) for each in scores], dtype=float),
            np.array([sum(score > threshold for score in each) for each in scores], dtype=float),
            np.array([outcome.is_good for outcome in outcomes], dtype=bool),
            np.array([any(n in o.annotated for n, _ in o.truth) for o in outcomes], dtype=bool),
        )

    def figures(self, weights: Floats) -> dict[str, float]:
        """Image-level figures, each image counted [I] ``weights`` times; NaN where a kind is missing.

        Returns:
            ``auroc`` of good against defective images, ``false_per_good``: detections per good image,
            ``false_alarm_rate``: good images with a detection, ``miss_rate``: defective ones without.
        """
        good, defective = weights * self.good, weights * self.defective
        return {
            "auroc": auroc(self.score, defective, good),
            "false_per_good": _average(self.alarms, good),
            "false_alarm_rate": _average(self.alarms > 0, good),
            "miss_rate": _average(self.alarms == 0, defective),
        }


def auroc(scores: Floats, positive: Floats, negative: Floats) -> float:
    """How likely a positive scores above a negative, half of the ties counted; NaN without either.

    Args:
        scores: [I].
        positive: [I] how often each counts as a positive.
        negative: [I] likewise.
    """
    _, place = np.unique(scores, return_inverse=True)
    positives, negatives = np.bincount(place, positive), np.bincount(place, negative)
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / pairs) if pairs else float("nan")


def _average(values: Floats | Bools, weights: Floats) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total else float("nan")
