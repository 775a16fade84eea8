"""The one postprocess: network output to detections in pixels of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rtvp.losses.boxes import pairwise_iou
from rtvp.models.presence import rescored
from rtvp.types import Detections, DetectorOutput, Letterbox

VOTING_IOU = 0.6
MAX_CANDIDATES = 1000  # pairs of cell and prompt that enter the suppression, per image


def postprocess(
    output: DetectorOutput,
    letterboxes: Sequence[Letterbox],
    score_threshold: float,
    iou_threshold: float = 0.5,
    max_detections: int = 300,
) -> list[Detections]:
    """Decode, suppress within each prompt, keep the best, average with their neighbours, scale back.

    Args:
        output: predictions for B images.
        letterboxes: B placements of the originals in the network input.
        score_threshold: pairs of cell and prompt at or below this score are dropped.
        iou_threshold: of two boxes of one prompt that overlap more than this, the lower score goes.
        max_detections: at most this many an image.
    """
    logits, presence = output.logits, output.presence_logits
    scores = (logits if presence is None else rescored(logits, presence)).sigmoid()
    return [
        _one_image(boxes, score, letterbox, score_threshold, iou_threshold, max_detections)
        for boxes, score, letterbox in zip(output.boxes_xyxy, scores, letterboxes, strict=True)
    ]


def _one_image(
    boxes: Tensor,
    scores: Tensor,
    letterbox: Letterbox,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> Detections:
    flat = scores.flatten()  # [A * K]
    best, index = flat.topk(min(MAX_CANDIDATES, flat.numel()))
    best, index = best.cpu(), index.cpu()
    cell, label = index // scores.shape[1], index % scores.shape[1]
    limit = torch.tensor([letterbox.width, letterbox.height] * 2, dtype=torch.float32)
    original = (boxes.cpu().float()[cell] / letterbox.scale).clamp(min=torch.zeros(4), max=limit)
    solid = ((original[:, 2:] - original[:, :2]) > 0).all(dim=1)  # drops what lay wholly in the padding
    original, best, label = original[solid], best[solid], label[solid]
    above = int((best > score_threshold).sum())
    kept = suppress(original[:above], label[:above], iou_threshold)[:max_detections]
    # Candidates below the threshold vote too: it decides which boxes are shown, not where they lie.
    voted = vote(original, best, label, kept)
    return Detections(voted, best[kept].float(), label[kept])


def suppress(boxes_xyxy: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Greedy class-aware non-maximum suppression.

    Args:
        boxes_xyxy: [N, 4], best score first.
        labels: [N]; boxes of different labels never suppress each other.
        iou_threshold: an overlap above this suppresses.

    Returns:
        [M] int64 indices of the kept boxes, rising.
    """
    kept = [
        own[keep_best(pairwise_iou(boxes_xyxy[own], boxes_xyxy[own]) > iou_threshold)]
        for own in of_each_label(labels)
    ]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *kept]).sort().values


def of_each_label(labels: Tensor) -> list[Tensor]:
    """[N] labels -> for each that is there, the rising indices of its own.

    Pairs of different labels have nothing to do with each other, and there are far more of them.
    """
    return [(labels == label).nonzero().flatten() for label in torch.unique(labels)]


def keep_best(rivals: Tensor) -> Tensor:
    """Who is left if each one that is left itself removes all its later rivals.

    Args:
        rivals: [N, N] bool, best first.

    Returns:
        [M] int64 indices, rising.
    """
    rows = rivals.numpy()
    alive = torch.ones(len(rows), dtype=torch.bool).numpy()
    for i in range(len(alive)):
        if alive[i]:
            alive[i + 1 :] &= ~rows[i, i + 1 :]
    return torch.from_numpy(alive).nonzero().flatten()


def vote(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, kept: Tensor) -> Tensor:
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
        mine = torch.isin(kept, own, assume_unique=True).nonzero().flatten()
        near = pairwise_iou(voted[mine], boxes_xyxy[own]) > VOTING_IOU
        near |= kept[mine, None] == own  # itself, however thin
        # In double precision, so that the mean of equal boxes is that box.
        weights = near * scores[own].double()
        voted[mine] = (weights @ boxes_xyxy[own].double() / weights.sum(dim=1, keepdim=True)).float()
    return voted
