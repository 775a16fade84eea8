"""The one postprocess: what a network says to detections in pixels of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtvp.types import Detections, Floats, Letterbox, Predictions

VOTING_IOU = 0.6
MAX_CANDIDATES = 1000  # pairs of cell and prompt that enter the suppression, per image
EPSILON = 1e-7  # px^2, of areas that are divided by

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


def postprocess(
    found: Predictions,
    letterboxes: Sequence[Letterbox],
    score_threshold: float,
    iou_threshold: float = 0.5,
    max_detections: int = 300,
) -> list[Detections]:
    """Decode, suppress within each prompt, keep the best, average with their neighbours, scale back.

    Args:
        found: predictions for B images.
        letterboxes: B placements of the originals in the network input.
        score_threshold: pairs of cell and prompt at or below this score are dropped.
        iou_threshold: of two boxes of one prompt that overlap more than this, the lower score goes.
        max_detections: at most this many an image.
    """
    logits, presence = found.logits, found.presence_logits
    if presence is not None:
        logits = rescored(logits, presence)
    return [
        _one_image(boxes, own, letterbox, score_threshold, iou_threshold, max_detections)
        for boxes, own, letterbox in zip(found.boxes_xyxy, logits, letterboxes, strict=True)
    ]


def rescored(logits: Floats, presence_logits: Floats) -> Floats:
    """Logits whose best cell, for each image and prompt, has the presence as its score.

    Args:
        logits: [B, A, K].
        presence_logits: [B, K].

    Returns:
        [B, A, K]; within an image and prompt the order and the distances stay.
    """
    raised: Floats = logits + (presence_logits - logits.max(axis=1))[:, None]
    return raised


def _one_image(
    boxes: Floats,
    logits: Floats,
    letterbox: Letterbox,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> Detections:
    flat = logits.ravel()  # [A * K]
    index = _best_first(flat, MAX_CANDIDATES)
    best = _sigmoid(flat[index])
    cell, label = index // logits.shape[1], index % logits.shape[1]
    limit = np.array([letterbox.width, letterbox.height] * 2, np.float32)
    original = (boxes[cell] / np.float32(letterbox.scale)).clip(0, limit)
    solid = (original[:, 2:] > original[:, :2]).all(axis=1)  # drops what lay wholly in the padding
    original, best, label = original[solid], best[solid], label[solid]
    above = int((best > score_threshold).sum())
    kept = suppress(original[:above], label[:above], iou_threshold)[:max_detections]
    # Candidates below the threshold vote too: it decides which boxes are shown, not where they lie.
    return Detections(vote(original, best, label, kept), best[kept], label[kept])


def _best_first(values: Floats, count: int) -> Indices:
    """[N] -> indices of the ``count`` largest, largest first; of equal ones the first."""
    chosen = np.arange(len(values))
    if count < len(values):
        chosen = np.sort(np.argpartition(values, -count)[-count:])
    return chosen[np.argsort(-values[chosen], kind="stable")]


def _sigmoid(logits: Floats) -> Floats:
    """Exact at both ends, without overflow."""
    scores: Floats = np.exp(-np.logaddexp(np.float32(0), -logits))
    return scores


def pairwise_iou(first: Floats, second: Floats) -> Floats:
    """Every box of one set with every box of the other, xyxy: [N, 4], [M, 4] -> [N, M] in [0, 1]."""
    shared = _shared_sides(first[:, 0::2], second[:, 0::2]) * _shared_sides(first[:, 1::2], second[:, 1::2])
    overlap: Floats = shared / (_areas(first)[:, None] + _areas(second) - shared + np.float32(EPSILON))
    return overlap


def _shared_sides(first: Floats, second: Floats) -> Floats:
    """Length that intervals have in common: [N, 2], [M, 2] -> [N, M]."""
    low, high = np.maximum(first[:, :1], second[:, 0]), np.minimum(first[:, 1:], second[:, 1])
    shared: Floats = np.maximum(high - low, 0)
    return shared


def _areas(boxes_xyxy: Floats) -> Floats:
    areas: Floats = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    return areas


def suppress(boxes_xyxy: Floats, labels: Indices, iou_threshold: float) -> Indices:
    """Greedy class-aware non-maximum suppression.

    Args:
        boxes_xyxy: [N, 4], best score first.
        labels: [N]; boxes of different labels never suppress each other.
        iou_threshold: an overlap above this suppresses.

    Returns:
        [M] indices of the kept boxes, rising.
    """
    kept = [
        own[keep_best(pairwise_iou(boxes_xyxy[own], boxes_xyxy[own]) > iou_threshold)]
        for own in of_each_label(labels)
    ]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *kept]))


def of_each_label(labels: Indices) -> list[Indices]:
    """[N] labels -> for each that is there, the rising indices of its own.

    Pairs of different labels have nothing to do with each other, and there are far more of them.
    """
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def keep_best(rivals: Mask) -> Indices:
    """Who is left if each one that is left itself removes all its later rivals.

    Args:
        rivals: [N, N], best first.

    Returns:
        [M] indices, rising.
    """
    alive = np.ones(len(rivals), np.bool_)
    for i in range(len(alive)):
        if alive[i]:
            alive[i + 1 :] &= ~rivals[i, i + 1 :]
    return np.flatnonzero(alive)


def vote(boxes_xyxy: Floats, scores: Floats, labels: Indices, kept: Indices) -> Floats:
    """Box voting (Gidaris and Komodakis 2015): boxes that were suppressed still have a say on the corners.

    A kept box becomes the mean, weighted by score, of all boxes of its label that overlap with it enough,
    itself among them. Neighbouring cells err independently; their mean errs less.

    Args:
        boxes_xyxy: [N, 4].
        scores: [N] above 0.
        labels: [N].
        kept: [M] indices of the boxes that were kept.

    Returns:
        [M, 4].
    """
    voted = boxes_xyxy[kept]
    for own in of_each_label(labels):
        mine = np.flatnonzero(labels[kept] == labels[own[0]])
        near = pairwise_iou(voted[mine], boxes_xyxy[own]) > VOTING_IOU
        near |= kept[mine, None] == own  # itself, however thin
        # In double precision, so that the mean of equal boxes is that box.
        weights = near * scores[own].astype(np.float64)
        voted[mine] = weights @ boxes_xyxy[own].astype(np.float64) / weights.sum(axis=1, keepdims=True)
    return voted
