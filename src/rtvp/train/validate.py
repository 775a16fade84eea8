"""A trained detector on the validation parts of what it was trained on, and on sets held out."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from statistics import fmean
from typing import Any

from rtvp.config import TrainConfig
from rtvp.data.labelled import LabelledSet
from rtvp.evaluate.average_precision import mean_precision, precision_by_name
from rtvp.evaluate.matching import count_boxes, match
from rtvp.evaluate.outcome import Outcome
from rtvp.evaluate.threshold import best_pooled
from rtvp.measure import RtvpNamed, make_prompts, measure
from rtvp.models.detector import RTVPDetector
from rtvp.models.text_encoder.base import TextEncoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.train.data import RunData


def validate(
    config: TrainConfig, data: RunData, detector: RTVPDetector, encoder: TextEncoder
) -> tuple[dict[str, Any], float]:
    """Prompt each set with its own plain names: all of a validation part, the seen ones of a held-out set.

    Args:
        config: of the run.
        data: of the run.
        detector: in eval mode, on the CPU.
        encoder: gives the text embeddings.

    Returns:
        The figures, per part and set, and the threshold with the best F1 over all validation images.
    """
    size = config.detector.input_size
    named = RtvpNamed(TorchNetwork(detector), encoder, size)
    figures: dict[str, Any] = {"input_size": size, "validation": {}, "held_out": {}}
    seen = data.names(config.data)
    held_out = tuple(replace(own, vocabulary=own.vocabulary & seen) for own in data.held_out)
    parts = {"validation": data.validation, "held_out": held_out}
    outcomes: list[Outcome] = []
    for part, sets in parts.items():
        for labelled in sets:
            if not labelled.vocabulary:
                continue
            found = measure(named, [labelled], make_prompts("own", ()))
            values = _figures(found, labelled)
            figures[part][labelled.name] = values
            print(
                f"{part} {labelled.name}: AP50 {values['AP50']} ({values['images']} images)", file=sys.stderr
            )
            if part == "validation":
                outcomes += found
    scored = [v["AP50"] for v in figures["validation"].values() if v["AP50"] is not None]
    point = best_pooled(match(outcomes))
    figures["mean_validation_AP50"] = fmean(scored) if scored else None
    figures["best_f1"] = point._asdict()
    return figures, point.threshold


def _figures(outcomes: list[Outcome], labelled: LabelledSet) -> dict[str, Any]:
    matches = match(outcomes)
    scores = mean_precision(precision_by_name(matches))
    return {
        "names": sorted(labelled.vocabulary),
        "images": len(outcomes),
        "boxes": count_boxes(matches),
        # JSON has no NaN, which is the figure of a part without any box.
        **{key: None if math.isnan(value) else value for key, value in scores.items()},
    }
