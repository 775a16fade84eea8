"""How good detections are: from outcomes to figures, without torch."""

from __future__ import annotations

from rtvp.evaluate.evaluation import Evaluation, Frequency, evaluate, frequency_groups
from rtvp.evaluate.matching import COCO_LIMITS, LVIS_LIMITS
from rtvp.evaluate.outcome import BoxXyxy, Outcome, Prediction, Truth
from rtvp.evaluate.threshold import OperatingPoint

__all__ = [
    "COCO_LIMITS",
    "LVIS_LIMITS",
    "BoxXyxy",
    "Evaluation",
    "Frequency",
    "OperatingPoint",
    "Outcome",
    "Prediction",
    "Truth",
    "evaluate",
    "frequency_groups",
]
