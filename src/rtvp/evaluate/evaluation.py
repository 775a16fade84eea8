"""All figures of a detector, from its outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from rtvp.evaluate.average_precision import coco_figures, mean_precision, precision_by_name
from rtvp.evaluate.bootstrap import intervals_of, resamples
from rtvp.evaluate.image_level import Verdicts
from rtvp.evaluate.matching import COCO_LIMITS, SIZE_RANGES, Floats, Limits, Matches, count_boxes, match
from rtvp.evaluate.outcome import Outcome
from rtvp.evaluate.part import Part, Row, split_by
from rtvp.evaluate.threshold import OperatingPoint, best_mean, best_pooled, point_at

Frequency: TypeAlias = Literal["r", "c", "f"]
# Means over the scenes are given of these: a scene with many images is worth no more than another.
OF_SCENES = ("AP", "AP50", "AP_agnostic", "AP50_agnostic", "auroc", "false_per_good")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of a detector; AP and rates lie in [0, 1], NaN where there is nothing to measure.

    Attributes:
        images: number of images.
        good: of them without any label.
        boxes: labelled boxes of the names that were looked for.
        figures: over everything; the keys are those of `evaluate`.
        intervals: figure -> bounds of its 95 % bootstrap interval; empty without bootstrap.
        operating_point: of all names pooled, at the threshold.
        best_f1: precision and recall, means over the names, where their mean F1 is best (Table 2a).
        sizes: share of the image that the box covers -> ``boxes``, ``AP``, ``AP50``.
        scenes: scene -> ``images``, ``good``, ``boxes`` and its figures.
        super_categories: likewise.
        categories: name -> ``images``, ``boxes``, ``AP``, ``AP50``, and ``precision`` and ``recall`` at the
            threshold.
    """

    images: int
    good: int
    boxes: int
    figures: Row
    intervals: dict[str, tuple[float, float]]
    operating_point: OperatingPoint
    best_f1: OperatingPoint
    sizes: dict[str, Row]
    scenes: dict[str, Row]
    super_categories: dict[str, Row]
    categories: dict[str, Row]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; null stands for what could not be measured."""
        content = asdict(self)
        for key in ("operating_point", "best_f1"):
            content[key] = getattr(self, key)._asdict()
        plain: dict[str, Any] = _without_nan(content)
        return plain


def evaluate(
    outcomes: Sequence[Outcome],
    *,
    seen: Collection[str] = (),
    unseen: Collection[str] = (),
    frequencies: Mapping[str, Frequency] | None = None,
    threshold: float | None = None,
    limits: Limits = COCO_LIMITS,
    bootstrap: int = 0,
    seed: int = 0,
    on_resample: Callable[[], None] | None = None,
) -> Evaluation:
    """Judge outcomes.

    ``figures`` holds COCO's ``AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl``; ``AP_agnostic`` and
    ``AP50_agnostic``, all names merged into one; the image-level ``auroc false_per_good false_alarm_rate
    miss_rate``; and means over the scenes, which end in ``_scenes``. With ``seen`` or ``unseen`` names also
    ``AP_seen AP50_seen AP_unseen AP50_unseen`` and their harmonic means ``AP_harmonic AP50_harmonic``; with
    ``frequencies`` LVIS's ``APr APc APf``.

    Args:
        outcomes: one an image.
        seen: names that were trained on.
        unseen: names that were not.
        frequencies: name -> rare, common or frequent in training; see `frequency_groups`.
        threshold: score that a detection has to exceed in the image-level figures and the operating point;
            the one with the best F1 over these very outcomes if None, which flatters a little.
        limits: how many detections count: `COCO_LIMITS` or `LVIS_LIMITS`.
        bootstrap: resamples of the images, whole groups at a time, that the intervals come from.
        seed: of the resamples.
        on_resample: called after each.
    """
    matches = match(outcomes, limits)
    point = best_pooled(matches) if threshold is None else point_at(matches, threshold)
    merged = match([outcome.as_one_name() for outcome in outcomes], limits)
    once = np.ones(len(outcomes))
    verdicts = Verdicts.of(outcomes, point.threshold)
    whole = Part(once > 0, matches, merged, verdicts, frozenset(seen), frozenset(unseen))
    scenes = split_by(whole, outcomes, lambda outcome: outcome.scene)
    above = split_by(whole, outcomes, lambda outcome: outcome.super_category)

    def headline(weights: Floats) -> Row:
        of_scenes = [part.figures(weights) for part in scenes.values()]
        means = {f"{key}_scenes": _nan_mean([row[key] for row in of_scenes]) for key in OF_SCENES}
        return whole.figures(weights) | means

    by_name = precision_by_name(matches)
    rare = _by_frequency(by_name, frequencies) if frequencies else {}
    samples = []
    for weights in resamples([outcome.group for outcome in outcomes], bootstrap, seed):
        samples.append(headline(weights))
        if on_resample:
            on_resample()
    return Evaluation(
        images=len(outcomes),
        good=sum(outcome.is_good for outcome in outcomes),
        boxes=count_boxes(matches),
        figures=coco_figures(matches) | rare | headline(once),
        intervals=intervals_of(samples),
        operating_point=point,
        best_f1=best_mean(matches),
        sizes=_size_rows(matches),
        scenes={name: part.row(once) for name, part in scenes.items()},
        super_categories={name: part.row(once) for name, part in above.items()},
        categories=_category_rows(matches, by_name, point.threshold),
    )


def frequency_groups(images_of: Mapping[str, int]) -> dict[str, Frequency]:
    """LVIS's groups: rare names are in fewer than 10 training images, common ones in fewer than 100.

    Args:
        images_of: name -> training images that show it.
    """
    return {name: "r" if count < 10 else "c" if count < 100 else "f" for name, count in images_of.items()}


def _by_frequency(by_name: Mapping[str, Floats], frequencies: Mapping[str, Frequency]) -> Row:
    return {
        f"AP{group}": mean_precision(by_name, [n for n, of in frequencies.items() if of == group])["AP"]
        for group in "rcf"
    }


def _size_rows(matches: Matches) -> dict[str, Row]:
    rows = {}
    for label, size in SIZE_RANGES.items():
        if size.relative:
            precision = mean_precision(precision_by_name(matches, label))
            rows[label] = {
                "boxes": count_boxes(matches, label),
                "AP": precision["AP"],
                "AP50": precision["AP50"],
            }
    return rows


def _category_rows(matches: Matches, by_name: Mapping[str, Floats], threshold: float) -> dict[str, Row]:
    rows = {}
    for name in by_name:
        each, point = matches[name], point_at({name: matches[name]}, threshold)
        counts = {"images": len(np.unique(each.truth_image)), "boxes": count_boxes({name: each})}
        precision = mean_precision(by_name, [name])
        rows[name] = {
            **counts,
            "AP": precision["AP"],
            "AP50": precision["AP50"],
            "precision": point.precision,
            "recall": point.recall,
        }
    return rows


def _nan_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
