"""The training objective, as named terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.losses.assigner import TaskAlignedAssigner, inside_boxes
from rtvp.losses.boxes import area, complete_iou
from rtvp.losses.processes import mean_over_processes, world_size
from rtvp.types import DetectorOutput, Target


def detection_losses(
    output: DetectorOutput, targets: Sequence[Target], annotated: Tensor, assigner: TaskAlignedAssigner
) -> dict[str, Tensor]:
    """Classification, box and distance terms of a batch.

    Args:
        output: predictions for B images and K names.
        targets: B targets.
        annotated: [B, K] bool; pairs of image and name about which nothing is known are left out, but for
            cells of boxes that bear the name.
        assigner: chooses the cells of each box.

    Returns:
        ``classification``: binary cross-entropy against the alignment quality; ``box``: 1 - CIoU;
        ``distance``: distribution focal loss. Scalars, each divided by the summed quality of the batch, which
        may be spread over processes: the mean of their losses is that of the whole batch.
    """
    scores = output.logits.detach().sigmoid()
    images, cells, owned, qualities, positives = [], [], [], [], []
    for b, target in enumerate(targets):
        assignment = assigner(
            scores[b], output.boxes_xyxy[b].detach(), output.anchor_points, output.anchor_strides, target
        )
        chosen = (assignment.box >= 0).nonzero().flatten()
        owner = assignment.box[chosen]
        images.append(torch.full_like(chosen, b))
        cells.append(chosen)
        owned.append(target.boxes_xyxy[owner])
        qualities.append(assignment.quality[chosen])
        positives.append(target.positives[owner])
    # An empty choice stays in the graph: in every process the same layers take part in the step.
    image, cell, wanted, quality = map(torch.cat, (images, cells, owned, qualities))
    # Quality per cell, whatever number of names the cell's box has.
    normaliser = _at_least_one(quality.sum())
    class_targets = torch.zeros_like(output.logits)
    class_targets[image, cell] = torch.cat(positives) * quality[:, None]
    entropy = F.binary_cross_entropy_with_logits(output.logits, class_targets, reduction="none")
    # Of a box the names are known, whether or not the picture's labels speak of them elsewhere.
    known = annotated[:, None, :] | (class_targets > 0)
    box = (1 - complete_iou(output.boxes_xyxy[image, cell], wanted)) * quality
    points, strides = output.anchor_points[cell], output.anchor_strides[cell]
    ltrb = torch.cat([points - wanted[:, :2], wanted[:, 2:] - points], dim=1) / strides[:, None]
    distance = distribution_focal_loss(output.distance_logits[image, cell], ltrb) * quality
    return {
        "classification": (entropy * known).sum() / normaliser,
        "box": box.sum() / normaliser,
        "distance": distance.sum() / normaliser,
    }


def _at_least_one(count: Tensor) -> Tensor:
    """A count, at least 1 over all processes together, as what each divides its own losses by."""
    return mean_over_processes(count).clamp(min=1 / world_size())


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy against the two bins around each distance (Li et al. 2020).

    Args:
        logits: [N, 4, bins].
        distances: [N, 4] in strides; outside the bins they are taken at the end bin.

    Returns:
        [N], mean over the four sides.
    """
    bins = logits.shape[-1]
    clamped = distances.clamp(0, bins - 1 - 0.01)
    low = clamped.long()
    share_high = clamped - low
    log_probability = logits.log_softmax(dim=-1)
    at_low = log_probability.gather(-1, low[..., None]).squeeze(-1)
    at_high = log_probability.gather(-1, low[..., None] + 1).squeeze(-1)
    return -(at_low * (1 - share_high) + at_high * share_high).mean(dim=-1)


def reconstruction_loss(
    expert: Sequence[Tensor], reconstructed: Sequence[Tensor], all_pairs: bool = False
) -> Tensor:
    """Eq. 3: distance between the expert's features F_j and the reconstructed ones F_i^R.

    Each level is a mean over positions and channels of the squared difference to the expert's feature, which
    is first brought to zero mean and unit deviation per channel over the batch (and not followed by the
    gradient: the expert learns from its own detections). A level thus weighs the same whatever its size.

    Args:
        expert: levels F_j, [B, C, H_j, W_j].
        reconstructed: levels F_i^R, [B, C, H_i, W_i].
        all_pairs: False reads the double sum as matching levels (i = j); True takes it literally, the
            expert's feature resized to level i, and divides by the number of levels to stay comparable.
    """
    total = reconstructed[0].new_zeros((), dtype=torch.float32)
    for i, feature in enumerate(reconstructed):
        sources = expert if all_pairs else (expert[i],)
        for source in sources:
            wanted = source.detach().float()
            if wanted.shape[2:] != feature.shape[2:]:
                wanted = F.interpolate(wanted, size=feature.shape[2:], mode="bilinear", align_corners=False)
            spread, centre = torch.var_mean(wanted, dim=(0, 2, 3), keepdim=True, correction=0)
            mean = mean_over_processes(centre)
            deviation = mean_over_processes(spread + (centre - mean).square()).sqrt()
            wanted = (wanted - mean) / (deviation + 1e-5)
            total = total + F.mse_loss(feature.float(), wanted) / len(sources)
    return total


def prompt_losses(
    boxes_xyxy: Tensor, scores: Sequence[Tensor], masks: Tensor, points: Tensor, targets: Sequence[Target]
) -> dict[str, Tensor]:
    """Supervision of the refined visual prompt, so that the kept cells fall on the defects.

    A kept cell inside a ground-truth box (the smallest, where several) learns that box: ``prompt_box``. The
    uncertainty score learns which cells are inside of any: ``prompt_score``, a cross-entropy in which the
    cells inside weigh as much as those outside, in every image and level. Defects are sparse: otherwise a
    score that is the same everywhere is as good as any.

    Args:
        boxes_xyxy: [B, A, 4] boxes of the auxiliary head.
        scores: per level [B, A_l] uncertainty scores in (0, 1); A is the sum of the A_l.
        masks: [B, A] 1 at kept cells.
        points: [A, 2] cell centres, px.
        targets: B targets.

    Returns:
        The two terms, scalars: means over the kept cells in boxes, and over images and levels.
    """
    box_losses, inside_any = [boxes_xyxy[:0, 0, 0]], []
    for b, target in enumerate(targets):
        inside = inside_boxes(points, target.boxes_xyxy)  # [N, A]
        inside_any.append(inside.any(dim=0))
        if len(target.boxes_xyxy):
            size = area(target.boxes_xyxy)[:, None].expand_as(inside).masked_fill(~inside, float("inf"))
            kept = inside_any[b] & (masks[b] > 0)
            wanted = target.boxes_xyxy[size.argmin(dim=0)[kept]]
            box_losses.append(1 - complete_iou(boxes_xyxy[b, kept], wanted))
    box = torch.cat(box_losses)
    wanted_scores = torch.split(torch.stack(inside_any), [level.shape[1] for level in scores], dim=1)
    balanced = [_balanced_entropy(*level) for level in zip(scores, wanted_scores, strict=True)]
    return {
        "prompt_box": box.sum() / _at_least_one(box.new_tensor(len(box))),
        "prompt_score": torch.stack(balanced).mean(),
    }


def _balanced_entropy(scores: Tensor, inside: Tensor) -> Tensor:
    """Scores [B, A] in (0, 1) against inside [B, A] bool; half of the weight of an image on either side."""
    count = inside.sum(dim=1, keepdim=True)
    per_cell = torch.where(inside, 0.5 / count.clamp(min=1), 0.5 / (inside.shape[1] - count).clamp(min=1))
    with torch.autocast(scores.device.type, enabled=False):  # which forbids this loss on CUDA
        entropy = F.binary_cross_entropy(scores.float(), inside.float(), per_cell, reduction="sum")
    return entropy / len(scores)
