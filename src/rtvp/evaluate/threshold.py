"""The score above which a detection is worth showing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rtvp.evaluate.average_precision import BoxXyxy, Prediction, Truth

MATCH_IOU = 0.5


class OperatingPoint(NamedTuple):
    """A threshold and what it gives, over all images and names together."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_f1(truth: Sequence[Sequence[Truth]], predictions: Sequence[Sequence[Prediction]]) -> OperatingPoint:
    """The threshold with the largest F1; detections match boxes of their name at IoU 0.5, best score first.

    Args:
        truth: per image, the labelled boxes; an image without any is known to be good.
        predictions: per image, the detections.
    """
    total = sum(map(len, truth))
    scored = [pair for boxes, found in zip(truth, predictions, strict=True) for pair in _judge(boxes, found)]
    if not total or not scored:
        return OperatingPoint(1.0, 0.0, 0.0, 0.0)
    scores = np.array([score for score, _ in scored])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(np.array([hit for _, hit in scored])[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / total
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    # Detections of one score come or go together: only the last of them is a possible threshold.
    ordered = scores[order]
    f1[:-1][ordered[:-1] == ordered[1:]] = -1
    best = int(f1.argmax())
    below = ordered[best + 1] if best + 1 < len(ordered) else 0.0
    threshold = float((ordered[best] + below) / 2)  # detections have to exceed it
    return OperatingPoint(threshold, float(precision[best]), float(recall[best]), float(f1[best]))


def _judge(boxes: Sequence[Truth], found: Sequence[Prediction]) -> list[tuple[float, bool]]:
    """Score and whether it hits, of each detection of one image."""
    free = list(boxes)
    judged = []
    for name, score, box in sorted(found, key=lambda prediction: -prediction[1]):
        overlaps = [_iou(box, other) if label == name else 0.0 for label, other in free]
        best = max(range(len(free)), key=overlaps.__getitem__, default=-1)
        hit = best >= 0 and overlaps[best] >= MATCH_IOU
        if hit:
            free.pop(best)
        judged.append((score, hit))
    return judged


def _iou(first: BoxXyxy, second: BoxXyxy) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (first, second))
    return width * height / (areas - width * height)
