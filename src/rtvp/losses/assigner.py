"""Task-aligned assignment: which cells learn which box (Feng et al. 2021, TOOD)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rtvp.losses.boxes import pairwise_iou
from rtvp.types import Target


class Assignment(NamedTuple):
    """For the A cells of one image.

    Attributes:
        box: [A] int64, index of the ground-truth box, -1 where the cell is background.
        quality: [A] float32 in [0, 1], the soft target of the score; 0 on background.
    """

    box: Tensor
    quality: Tensor


class TaskAlignedAssigner:
    """Gives each box the cells that both score and localise it best.

    Alignment = score^alpha * IoU^beta among cells whose centre lies in the box; the ``top_k`` best are taken;
    a cell wanted by several boxes goes to the one it overlaps most.

    Args:
        top_k: cells a box.
        alpha: exponent of the score.
        beta: exponent of the IoU.
    """

    def __init__(self, top_k: int = 10, alpha: float = 0.5, beta: float = 6.0) -> None:
        self.top_k = top_k
        self.alpha = alpha
        self.beta = beta

    @torch.no_grad()
    def __call__(
        self, scores: Tensor, boxes_xyxy: Tensor, points: Tensor, strides: Tensor, target: Target
    ) -> Assignment:
        """Assign the cells of one image.

        Args:
            scores: [A, K] in [0, 1]; without names (K = 0) every cell is background.
            boxes_xyxy: [A, 4] predicted boxes, px.
            points: [A, 2] cell centres, px.
            strides: [A] px.
            target: N boxes and their names.
        """
        cells, count = len(points), len(target.boxes_xyxy)
        if count == 0 or scores.shape[1] == 0:
            return Assignment(points.new_full((cells,), -1, dtype=torch.int64), points.new_zeros(cells))
        overlap = pairwise_iou(target.boxes_xyxy, boxes_xyxy)  # [N, A]
        named = target.positives[:, None, :]  # [N, 1, K]
        score = (scores[None] * named).amax(dim=2)  # [N, A]: the best of the box's names
        inside = inside_boxes(points, target.boxes_xyxy, min_side=float(strides.min()))
        alignment = score.pow(self.alpha) * overlap.pow(self.beta) * inside
        best, index = alignment.topk(min(self.top_k, cells), dim=1)
        chosen = torch.zeros_like(inside).scatter_(1, index, best > 0)
        # One owner a cell: the chosen box with the largest overlap.
        owner_overlap, owner = (overlap * chosen).max(dim=0)
        is_positive = chosen.any(dim=0) & (owner_overlap > 0)
        owned = chosen & (owner[None] == torch.arange(count, device=owner.device)[:, None])
        peak_alignment = (alignment * owned).amax(dim=1, keepdim=True)
        peak_overlap = (overlap * owned).amax(dim=1, keepdim=True)
        quality = (alignment * owned / peak_alignment.clamp(min=1e-30) * peak_overlap).amax(dim=0)
        return Assignment(torch.where(is_positive, owner, -1), quality * is_positive)


def inside_boxes(points: Tensor, boxes_xyxy: Tensor, min_side: float = 0.0) -> Tensor:
    """Whether each point lies in each box: [A, 2], [N, 4] -> [N, A] bool.

    Boxes narrower than ``min_side`` px count as that wide: with the finest stride no box is without a cell.
    """
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    half = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2).clamp(min=min_side / 2)
    return ((points[None] - centre[:, None]).abs() <= half[:, None]).all(dim=2)
