"""Detectors on labelled images: what `rtvp.evaluate` judges."""

from __future__ import annotations

from rtvp.measure.kept import KeptDetections
from rtvp.measure.named import ClosedNamed, NamedDetector, RtvpNamed
from rtvp.measure.prompting import PROMPTINGS, Prompting, make_prompts
from rtvp.measure.run import measure, measure_labels, outcome_of

__all__ = [
    "PROMPTINGS",
    "ClosedNamed",
    "KeptDetections",
    "NamedDetector",
    "Prompting",
    "RtvpNamed",
    "make_prompts",
    "measure",
    "measure_labels",
    "outcome_of",
]
