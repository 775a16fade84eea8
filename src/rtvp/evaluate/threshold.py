"""The score above which a detection is worth showing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtvp.evaluate.matching import Floats, Matches, NameMatches

MATCH_IOU = 0.5  # from which on a detection is right, here and wherever boxes are counted


class OperatingPoint(NamedTuple):
    """A threshold, which detections have to exceed, and what it gives at IoU 0.5; NaN without any box."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_pooled(matches: Matches) -> OperatingPoint:
    """The point with the largest F1 over the boxes and detections of all names together."""
    levels = _hit_scores(matches)
    counts = np.zeros((3, len(levels)))  # hits, detections that are judged, boxes
    for each in matches.values():
        counts += _counts(each, levels)
    if not len(levels):
        return OperatingPoint(1.0, 0.0, 0.0, 0.0)
    return _best(matches, levels, *_rates(counts))


def best_mean(matches: Matches) -> OperatingPoint:
    """The point with the largest mean F1 of the names, and their mean precision and recall there.

    This is what YOLO's tools report as precision and recall, and the paper in its Table 2a. A name of which
    nothing is found has precision 0; one without boxes does not take part.
    """
    levels = _hit_scores(matches)
    labelled = [each for each in matches.values() if each.truth_judged[0].any()]
    if not len(levels):
        return OperatingPoint(1.0, 0.0, 0.0, 0.0)
    sums = np.zeros((3, len(levels)))
    for each in labelled:
        sums += _rates(_counts(each, levels))
    return _best(matches, levels, *(sums / len(labelled)))


def point_at(matches: Matches, threshold: float) -> OperatingPoint:
    """What a threshold gives over the boxes and detections of all names together."""
    above = np.array([np.nextafter(threshold, np.inf)])
    counts = sum((_counts(each, above) for each in matches.values()), np.zeros((3, 1)))
    if not counts[2, 0]:
        return OperatingPoint(threshold, *[float("nan")] * 3)
    return OperatingPoint(threshold, *_rates(counts)[:, 0].tolist())


def _hit_scores(matches: Matches) -> Floats:
    """[S] rising scores at which F1 may be largest: in between, only false alarms are added."""
    return np.unique(np.concatenate([[], *(each.score[each.hit[0, 0]] for each in matches.values())]))


def _counts(each: NameMatches, levels: Floats) -> Floats:
    """[3, S]: hits and judged detections that score at least each of [S] ``levels``, and boxes."""
    reached = np.searchsorted(-each.score, -levels, side="right")
    hits, judged = (
        np.concatenate([[0], np.cumsum(which[0, 0])])[reached] for which in (each.hit, each.judged)
    )
    return np.stack([hits, judged, np.full(len(levels), each.truth_judged[0].sum())]).astype(float)


def _rates(counts: Floats) -> Floats:
    """Hits, judged and boxes [3, S] to precision, recall and F1 [3, S]; 0 where nothing is judged."""
    hits, judged, boxes = counts
    parts = (hits, judged), (hits, boxes), (2 * hits, judged + boxes)
    return np.stack([np.divide(a, b, out=np.zeros_like(a), where=b > 0) for a, b in parts])


def _best(matches: Matches, levels: Floats, precision: Floats, recall: Floats, f1: Floats) -> OperatingPoint:
    best = len(f1) - 1 - int(f1[::-1].argmax())  # of equals the highest score
    level = levels[best]
    # Between this score and the next one below, so that rounding does not decide.
    below = max(float(each.score[each.score < level].max(initial=0.0)) for each in matches.values())
    threshold = (float(level) + below) / 2
    return OperatingPoint(threshold, float(precision[best]), float(recall[best]), float(f1[best]))
