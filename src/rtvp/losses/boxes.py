"""Overlap measures of boxes, xyxy, in pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-7


def area(boxes_xyxy: Tensor) -> Tensor:
    """[..., 4] -> [...]."""
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes that broadcast: [..., 4], [..., 4] -> [...] in [0, 1]."""
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    return intersection / (area(first) + area(second) - intersection + EPSILON)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Every box of one set with every box of the other: [N, 4], [M, 4] -> [N, M]."""
    # Side by side, not as [N, M, 2]: half the time of `iou` where there are a thousand boxes.
    shared = _shared_sides(first[:, 0::2], second[:, 0::2]) * _shared_sides(first[:, 1::2], second[:, 1::2])
    return shared / (area(first)[:, None] + area(second) - shared + EPSILON)


def _shared_sides(first: Tensor, second: Tensor) -> Tensor:
    """Length that intervals have in common: [N, 2], [M, 2] -> [N, M]."""
    low, high = torch.maximum(first[:, :1], second[:, 0]), torch.minimum(first[:, 1:], second[:, 1])
    return (high - low).clamp(min=0)


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """CIoU (Zheng et al. 2020), IoU less centre distance and aspect difference: [..., 4] twice -> [...].

    1 for equal boxes, negative for disjoint ones, above -1.5.
    """
    overlap = iou(first, second)
    top_left = torch.minimum(first[..., :2], second[..., :2])  # of the box that encloses both
    bottom_right = torch.maximum(first[..., 2:], second[..., 2:])
    diagonal = (bottom_right - top_left).square().sum(dim=-1) + EPSILON
    centres = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = centres.square().sum(dim=-1) / diagonal
    aspect = (4 / math.pi**2) * (_angle(first) - _angle(second)).square()
    with torch.no_grad():
        trade_off = aspect / (1 - overlap + aspect + EPSILON)
    return overlap - distance - trade_off * aspect


def _angle(boxes_xyxy: Tensor) -> Tensor:
    width = boxes_xyxy[..., 2] - boxes_xyxy[..., 0]
    height = boxes_xyxy[..., 3] - boxes_xyxy[..., 1]
    return torch.atan2(width, height + EPSILON)
