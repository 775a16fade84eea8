"""Values that pass between rooms. Boxes are always xyxy, in pixels, float32, with x2 >= x1 and y2 >= y1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # what reads exported models alone never loads torch
    from torch import Tensor

Floats: TypeAlias = NDArray[np.float32]


class Prompt(NamedTuple):
    """One thing to look for: a name and, optionally, texts that mean the same (synonyms, descriptions)."""

    name: str
    texts: tuple[str, ...] = ()

    @property
    def all_texts(self) -> tuple[str, ...]:
        """The name followed by its other texts: what is embedded and averaged."""
        return (self.name, *self.texts)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an original image was placed in the input that the network sees: scaled, put at the top left.

    ``x_input = x_original * scale``; the rest of the input is padding. No offset: boxes scale back by one
    division.
    """

    width: int  # of the original, px
    height: int
    scale: float


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image.

    Attributes:
        boxes_xyxy: [N, 4] float32, pixels of the original image, inside it.
        scores: [N] float32 in [0, 1], descending.
        labels: [N] int64, index into the prompts.
    """

    boxes_xyxy: Floats
    scores: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a network says of a batch, as results are made of it, whatever runs the network.

    All are float32 arrays; A is the number of anchor points, K the number of prompts.

    Attributes:
        boxes_xyxy: [B, A, 4], pixels of the network input.
        logits: [B, A, K] contrastive logits; their sigmoid is the score, unless presence has a say.
        prompt_scores: per level [B, 1, H/s, W/s]: the uncertainty score of Eq. 4 in [0, 1].
        prompt_masks: per level [B, 1, H/s, W/s]: 1 where the sparse sampling of Eq. 6 kept the cell.
        presence_logits: [B, K]: the image shows the prompt somewhere; None from a model that does not tell.
    """

    boxes_xyxy: Floats
    logits: Floats
    prompt_scores: tuple[Floats, ...] = ()
    prompt_masks: tuple[Floats, ...] = ()
    presence_logits: Floats | None = None


@dataclass(frozen=True, slots=True)
class DetectorOutput:
    """What the detector says of a batch, as training and figures read it.

    A is the number of anchor points (cells of all head levels, finest level first), K the number of prompts.

    Attributes:
        boxes_xyxy: [B, A, 4] float32, pixels of the network input.
        logits: [B, A, K] float32 contrastive logits; their sigmoid is the score, unless presence has a say.
        distance_logits: [B, A, 4, bins] distribution-focal logits of the distances left, top, right, bottom.
        anchor_points: [A, 2] centre of each cell, px of the network input, (x, y).
        anchor_strides: [A] stride of each cell, px.
        prompt_scores: per level [B, 1, H/s, W/s]: the uncertainty score of Eq. 4 in [0, 1].
        prompt_masks: per level [B, 1, H/s, W/s]: 1 where the sparse sampling of Eq. 6 kept the cell.
        prompts: per level [B, C, H/s, W/s]: the refined visual prompt (kept cells of F^R).
        presence_logits: [B, K] float32: the image shows the prompt somewhere; None from a model that does not
            tell.
    """

    boxes_xyxy: Tensor
    logits: Tensor
    distance_logits: Tensor
    anchor_points: Tensor
    anchor_strides: Tensor
    prompt_scores: tuple[Tensor, ...] = ()
    prompt_masks: tuple[Tensor, ...] = ()
    prompts: tuple[Tensor, ...] = ()
    presence_logits: Tensor | None = None

    def predictions(self) -> Predictions:
        """What results are made of, without gradient and in the CPU's memory."""
        return Predictions(
            _array(self.boxes_xyxy),
            _array(self.logits),
            tuple(map(_array, self.prompt_scores)),
            tuple(map(_array, self.prompt_masks)),
            None if self.presence_logits is None else _array(self.presence_logits),
        )


class Target(NamedTuple):
    """What one training image shows.

    Attributes:
        boxes_xyxy: [N, 4] float32, pixels of the network input.
        positives: [N, K] bool: which of the batch's K names describe each box. A box has at least one; it has
            several where the batch holds a generic name (``defect``), a synonym or a phrase beside its own.
    """

    boxes_xyxy: Tensor
    positives: Tensor


class Batch(NamedTuple):
    """One training step's input.

    Attributes:
        images: [B, 3, S, S] uint8 RGB, S a multiple of 32; [B, 0, S, S] where ``features`` are given.
        targets: B targets.
        prompts: K text prompts, positives and negatives: in which words each name is asked for. They may be
            a synonym, or descriptions without any name.
        annotated: [B, K] bool: whether it is known for image b where k is and is not. Elsewhere (the image's
            source does not annotate k) the classification loss leaves the pair out.
        names: K names: what each column of ``positives`` and ``annotated`` is about.
        features: maps of the image encoder, finest first, each [B, C, S/s, S/s] floating point, in place of
            the images; None where the encoder has to see the images.
    """

    images: Tensor
    targets: tuple[Target, ...]
    prompts: tuple[Prompt, ...]
    annotated: Tensor
    names: tuple[str, ...]
    features: tuple[Tensor, ...] | None = None


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().float().cpu().numpy()
