"""Average precision and average recall as COCO defines them, from one matching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from rtvp.evaluate.matching import SIZE_RANGES, Floats, Ints, Matches, NameMatches

RECALL_LEVELS = np.linspace(0, 1, 101)
MOST = 100  # detections of a name in an image that AP and AR look at, unless said otherwise
_RANGE_INDEX = {label: index for index, label in enumerate(SIZE_RANGES)}
_ALL = "all"


def precision_by_name(matches: Matches, size: str = _ALL, weights: Floats | None = None) -> dict[str, Floats]:
    """Average precision of each name that has boxes, at each IoU level.

    Args:
        matches: see `rtvp.evaluate.matching.match`.
        size: one of `SIZE_RANGES`; only boxes of these sizes count.
        weights: [I] how often each image counts; once if None.

    Returns:
        Name -> [T], in [0, 1].
    """
    found = {}
    for name, each in matches.items():
        boxes = _total(each.truth_image[each.truth_judged[_RANGE_INDEX[size]]], weights)
        if boxes > 0:
            found[name] = _average_precision(each, _RANGE_INDEX[size], boxes, weights)
    return found


def recall_by_name(
    matches: Matches, size: str = _ALL, most: int = MOST, weights: Floats | None = None
) -> dict[str, Floats]:
    """Recall of each name that has boxes, at each IoU level; arguments as in `precision_by_name`.

    Args:
        most: detections of the name that count in an image.
    """
    found = {}
    index = _RANGE_INDEX[size]
    for name, each in matches.items():
        boxes = _total(each.truth_image[each.truth_judged[index]], weights)
        if boxes > 0:
            hits = each.hit[index] & (each.rank < most)
            found[name] = hits @ _of_images(each.image, weights) / boxes
    return found


def coco_figures(matches: Matches) -> dict[str, float]:
    """AP, AP50, AP75, APs/m/l, AR1/10/100, ARs/m/l: means over the names that have boxes; NaN without any."""
    by_name = precision_by_name(matches)
    figures = mean_precision(by_name)
    for size in "sml":
        figures[f"AP{size}"] = mean_precision(precision_by_name(matches, size))["AP"]
    for most in (1, 10, 100):
        figures[f"AR{most}"] = _mean(recall_by_name(matches, most=most).values())
    for size in "sml":
        figures[f"AR{size}"] = _mean(recall_by_name(matches, size).values())
    return figures


def mean_precision(by_name: Mapping[str, Floats], names: Iterable[str] | None = None) -> dict[str, float]:
    """AP (IoU 0.50:0.95), AP50 and AP75, means over ``names``, or all; NaN where none of them has boxes."""
    chosen = by_name.keys() if names is None else by_name.keys() & set(names)
    values = [by_name[name] for name in by_name if name in chosen]
    return {
        "AP": _mean(values),
        "AP50": _mean(value[0] for value in values),
        "AP75": _mean(value[5] for value in values),
    }


def _average_precision(each: NameMatches, index: int, boxes: float, weights: Floats | None) -> Floats:
    weight = _of_images(each.image, weights)
    right = np.cumsum(each.hit[index] * weight, axis=1)  # [T, N]
    judged = np.cumsum(each.judged[index] * weight, axis=1)
    precision = np.divide(right, judged, out=np.zeros_like(right), where=judged > 0)
    # At each recall the best precision that is had there or further on.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    recall = right / boxes
    return np.array(
        [
            best[np.searchsorted(reached, RECALL_LEVELS)].mean()
            for best, reached in zip(envelope, recall, strict=True)
        ]
    )


def _of_images(image: Ints, weights: Floats | None) -> Floats:
    return np.ones(len(image)) if weights is None else weights[image]


def _total(image: Ints, weights: Floats | None) -> float:
    return float(_of_images(image, weights).sum())


def _mean(values: Iterable[Floats | float]) -> float:
    each = [float(np.mean(value)) for value in values]
    return float(np.mean(each)) if each else float("nan")
