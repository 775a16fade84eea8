"""A second, coarser look at whole images, averaged with the first: for products that the model never saw.

What only the fine structure of an unknown product makes look like a defect should score less from further
away, where a large defect shows as well. Averaging what views at several scales say is test-time augmentation
(Szegedy et al. 2015); benchmarks/second_look.py measures it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rtvp.data.images import INPUT_STEP, Picture
from rtvp.losses.boxes import pairwise_iou
from rtvp.models.postprocess import suppress, vote
from rtvp.tiling import look
from rtvp.types import Detections, DetectorOutput

SHARE = 0.6  # of the first look's input side
UNSEEN, SEEN = (
    32.0,
    64.0,
)  # sides of a box, px of the first input: from here the second look counts, here fully
SAME_BOX = 0.5  # overlap from which on two boxes of one name are one
LEAST = 1e-4  # score of what a look does not see
MOST = 300  # detections an image


def look_again(
    images: Sequence[Picture],
    first: Sequence[Detections],
    forward: Callable[[Tensor], DetectorOutput],
    size: int,
    device: torch.device | str = "cpu",
) -> list[Detections]:
    """What a second look at the images adds to the first and takes from it.

    Args:
        images: [H, W, 3] uint8 RGB each.
        first: what was found in each at the full size, px of the image.
        forward: images [B, 3, h, w] to the network's output.
        size: side of the network input of a square in the first look, px.
        device: of the network.

    Returns:
        Detections of both looks. The score of each is the mean of both, as logits; the larger the box, the
        more the second counts: small ones it cannot see.
    """
    smaller = max(INPUT_STEP, round(size * SHARE / INPUT_STEP) * INPUT_STEP)
    second = look(images, forward, smaller, device, LEAST)
    return [
        _merged(own, other, size / math.sqrt(image.shape[0] * image.shape[1]))
        for image, own, other in zip(images, first, second, strict=True)
    ]


def _merged(first: Detections, second: Detections, scale: float) -> Detections:
    """``scale`` leads from px of the image to px of the first input."""
    boxes = torch.cat([first.boxes_xyxy, second.boxes_xyxy])
    scores, order = torch.cat([first.scores, second.scores]).sort(descending=True, stable=True)
    boxes, labels = boxes[order], torch.cat([first.labels, second.labels])[order]
    kept = suppress(boxes, labels, SAME_BOX)
    side = (boxes[kept, 2:] - boxes[kept, :2]).clamp(min=0).prod(dim=1).sqrt() * scale
    weight = ((side - UNSEEN) / (SEEN - UNSEEN)).clamp(0, 1)
    one, other = (_seen(boxes[kept], labels[kept], each) for each in (first, second))
    mean, order = ((one + weight * other) / (1 + weight)).sigmoid().sort(descending=True, stable=True)
    order = order[:MOST]
    return Detections(vote(boxes, scores, labels, kept)[order], mean[:MOST], labels[kept][order])


def _seen(boxes: Tensor, labels: Tensor, found: Detections) -> Tensor:
    """[N] logit of the best box that one look found at each place, of the same label."""
    best = torch.full((len(boxes),), LEAST)
    if len(found.scores):
        there = (pairwise_iou(boxes, found.boxes_xyxy) > SAME_BOX) & (labels[:, None] == found.labels)
        best = (there * found.scores).amax(dim=1).clamp(LEAST, 1 - LEAST)
    return best.logit()
