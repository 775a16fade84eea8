"""Labels and detections as plain lists, one entry an image."""

from __future__ import annotations

from collections.abc import Sequence

from rtvp.evaluate.average_precision import mean_precision, precision_by_name
from rtvp.evaluate.matching import Matches, match
from rtvp.evaluate.outcome import Outcome, Prediction, Truth
from rtvp.evaluate.threshold import OperatingPoint, best_pooled


def match_lists(
    truth: Sequence[Sequence[Truth]], found: Sequence[Sequence[Prediction]], names: Sequence[str] = ()
) -> Matches:
    """All names are judged in every image: ``names``, or those that occur."""
    occurring = {box[0] for image in (*truth, *found) for box in image}
    judged = frozenset(names) or frozenset(occurring)
    return match(
        [
            Outcome(str(i), "", "", "", 1, 1, tuple(boxes), tuple(detections), judged)
            for i, (boxes, detections) in enumerate(zip(truth, found, strict=True))
        ]
    )


def average_precision(
    truth: Sequence[Sequence[Truth]], found: Sequence[Sequence[Prediction]], names: Sequence[str]
) -> dict[str, float]:
    return mean_precision(precision_by_name(match_lists(truth, found, names)))


def best_f1(truth: Sequence[Sequence[Truth]], found: Sequence[Sequence[Prediction]]) -> OperatingPoint:
    return best_pooled(match_lists(truth, found))
