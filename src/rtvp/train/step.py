"""What one optimisation step computes: the detector plus the parts that exist only in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rtvp.config import LossWeights, MaskingConfig
from rtvp.losses.assigner import TaskAlignedAssigner
from rtvp.losses.objective import detection_losses, prompt_losses, reconstruction_loss
from rtvp.losses.processes import rank, world_size
from rtvp.models.contrastive_head import anchor_grid
from rtvp.models.detector import RTVPDetector
from rtvp.models.expert import Expert
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.models.masked_feature_reconstruction import random_patch_mask
from rtvp.models.visual_prompt.auxiliary_head import AuxiliaryBoxHead
from rtvp.types import Batch, DetectorOutput, Target

Losses = dict[str, Tensor]


class ExpertStep(nn.Module):
    """The expert's own objective: closed-set detection of the seen classes.

    Args:
        expert: the closed-set detector.
        classes: the name of each of its classes, in the order of its logits.
        losses: weights of the terms.
    """

    def __init__(self, expert: Expert, classes: Sequence[str], losses: LossWeights) -> None:
        super().__init__()
        self.expert = expert
        self.columns = {name: index for index, name in enumerate(classes)}
        self.losses = losses
        self.assigner = TaskAlignedAssigner()

    def forward(self, batch: Batch) -> Losses:
        """A batch to weighted terms, scalars; their sum is what is minimised."""
        maps = encoder_maps(self.expert.image_encoder, batch)
        return weighted(self.detection_terms(self.expert.interpret(maps).detections, batch), self.losses)

    def detection_terms(self, detections: DetectorOutput, batch: Batch) -> Losses:
        """Terms over the names of the batch that are classes of the expert."""
        shared = [k for k, name in enumerate(batch.names) if name in self.columns]
        classes = [self.columns[batch.names[k]] for k in shared]
        narrowed = _with_logits(detections, detections.logits[:, :, classes])
        targets = [Target(t.boxes_xyxy, t.positives[:, shared]) for t in batch.targets]
        return detection_losses(narrowed, targets, batch.annotated[:, shared], self.assigner)


class RTVPStep(nn.Module):
    """The whole objective of the paper: detection and, where present, expert, reconstruction, prompt terms.

    Args:
        detector: what is trained.
        expert: assists the adaptation (Eq. 3) and keeps learning; None trains without it.
        losses: weights of the terms; a term of weight 0 is not computed where that saves work.
        masking: Eq. 1 and the stop of the adaptation.
        seed: masks of step i are a function of (seed, i), for the whole batch of all processes.
    """

    def __init__(
        self,
        detector: RTVPDetector,
        expert: ExpertStep | None,
        losses: LossWeights,
        masking: MaskingConfig,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.expert = expert
        self.losses = losses
        self.masking = masking
        self.seed = seed
        self.assigner = TaskAlignedAssigner()
        self.auxiliary_head = (
            AuxiliaryBoxHead(detector.strides, detector.channels) if detector.refiner is not None else None
        )
        self.adapting = detector.decoder is not None and expert is not None and losses.reconstruction > 0

    def forward(self, batch: Batch, text: Tensor, step: int) -> Losses:
        """A batch, its K text embeddings [K, D] and the step's number to weighted terms."""
        maps = encoder_maps(self.detector.image_encoder, batch)
        features = self.detector.pyramid(maps)
        coarse = self.detector.adapt(self._masked(features, step))
        output = self.detector.interpret(features, coarse, text)
        terms = detection_losses(output, batch.targets, batch.annotated, self.assigner)
        terms |= self._prompt_terms(output, batch)
        terms |= self._expert_terms(maps, coarse, batch)
        return weighted(terms, self.losses)

    def stop_adapting(self) -> None:
        """The adaptation has converged: its layers are fixed, and the expert is no longer needed."""
        self.adapting = False
        self.expert = None
        if self.detector.decoder is not None:
            self.detector.decoder.requires_grad_(False)

    def _masked(self, features: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
        if not self.adapting:
            return features
        generator = torch.Generator().manual_seed(hash((self.seed, step)) & 0x7FFFFFFF)
        patch, share, world = self.masking.patch_cells, self.masking.share, world_size()
        masked = []
        for feature in features:
            # Drawn for the whole batch, of which a process has every world-th image.
            whole = feature[:1].expand(world * len(feature), -1, -1, -1)
            masked.append(feature * random_patch_mask(whole, patch, share, generator)[rank() :: world])
        return tuple(masked)

    def _prompt_terms(self, output: DetectorOutput, batch: Batch) -> Losses:
        if self.auxiliary_head is None or not (self.losses.prompt_box or self.losses.prompt_score):
            return {}
        boxes = self.auxiliary_head(output.prompts)
        points, _ = anchor_grid(output.prompts, self.detector.strides)
        scores = [score.flatten(1) for score in output.prompt_scores]
        masks = torch.cat([mask.flatten(1) for mask in output.prompt_masks], dim=1)
        return prompt_losses(boxes, scores, masks, points, batch.targets)

    def _expert_terms(self, maps: tuple[Tensor, ...], coarse: tuple[Tensor, ...], batch: Batch) -> Losses:
        if not self.adapting or self.expert is None:
            return {}
        expert = self.expert.expert
        shared = expert.image_encoder is self.detector.image_encoder  # one pass then serves both
        output = expert.interpret(maps if shared else expert.image_encoder(_as_input(batch.images)))
        own = weighted(self.expert.detection_terms(output.detections, batch), self.losses)
        reconstruction = reconstruction_loss(output.features, coarse, self.masking.all_pairs)
        return {"expert": torch.stack(list(own.values())).sum(), "reconstruction": reconstruction}


def weighted(terms: Mapping[str, Tensor], losses: LossWeights) -> Losses:
    """Each term times its weight; terms of weight 0 are left out."""
    weights = losses.model_dump()
    return {name: weights[name] * value for name, value in terms.items() if weights[name] > 0}


def encoder_maps(encoder: ImageEncoder, batch: Batch) -> tuple[Tensor, ...]:
    """The maps that the encoder makes of a batch's images; those that are fixed the batch may bring."""
    if batch.features is not None:
        return encoder.finish(tuple(map(_as_input, batch.features)))
    return encoder(_as_input(batch.images))  # type: ignore[no-any-return]


def _as_input(maps: Tensor) -> Tensor:
    # Channels last is what CPU and GPU convolutions run fastest on; it carries through the network.
    return maps.float().contiguous(memory_format=torch.channels_last)


def _with_logits(output: DetectorOutput, logits: Tensor) -> DetectorOutput:
    return DetectorOutput(
        output.boxes_xyxy, logits, output.distance_logits, output.anchor_points, output.anchor_strides
    )


class ConvergenceMonitor:
    """Says when a loss has stopped falling: its mean over a window changed by less than a share of itself.

    Args:
        window: steps a window.
        threshold: relative change below which the loss counts as converged.
    """

    def __init__(self, window: int, threshold: float) -> None:
        self.window = window
        self.threshold = threshold
        self.previous: float | None = None
        self.total = 0.0
        self.count = 0

    def update(self, loss: float) -> bool:
        """Take one step's loss; True once converged."""
        self.total += loss
        self.count += 1
        if self.count < self.window:
            return False
        mean, self.total, self.count = self.total / self.count, 0.0, 0
        previous, self.previous = self.previous, mean
        return previous is not None and abs(previous - mean) < self.threshold * abs(previous)

    def state(self) -> list[float]:
        """What a checkpoint keeps."""
        return [float("nan") if self.previous is None else self.previous, self.total, float(self.count)]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from `state`."""
        self.previous = None if state[0] != state[0] else state[0]
        self.total, self.count = state[1], int(state[2])
