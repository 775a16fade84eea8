"""Whether an exported model finds what its checkpoint finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtvp.data.images import read_image
from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.evaluate import evaluate
from rtvp.evaluate.outcome import Outcome
from rtvp.export.checkpoint import read_checkpoint
from rtvp.measure import NamedDetector, RtvpNamed, outcome_of
from rtvp.mmio.schema import ImageRecord
from rtvp.models.exported import Precision
from rtvp.models.postprocess import pairwise_iou
from rtvp.models.runtimes import encoder_of, open_exported
from rtvp.models.text_encoder import make_text_encoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.types import Detections, Floats, Prompt

BEST = 20  # detections of an image that are compared, beside all over the threshold
SAME_IOU, SAME_SCORE = 0.99, 1e-3
LARGEST_AP_LOSS: dict[Precision, float] = {"float32": 0.001, "int8": 0.01}


class ToleranceError(RtvpError):
    """An exported model does not find what its checkpoint finds."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A detection of the checkpoint, and the one of the exported model that it is compared with.

    Attributes:
        iou: of their boxes; 0 where the exported model has none left of this prompt that overlaps.
        score_difference: absolute.
        in_order: whether they have the same rank, or ranks whose scores are the same within the tolerance.
    """

    iou: float
    score_difference: float
    in_order: bool

    @property
    def same(self) -> bool:
        """Box, score and rank are the same within the tolerance of float32."""
        return self.iou > SAME_IOU and self.score_difference <= SAME_SCORE and self.in_order


@dataclass(slots=True)
class Comparison:
    """Checkpoint against exported model, over images.

    Attributes:
        pairs: one a compared detection of the checkpoint.
        images: how many were looked at.
        outcomes: of the checkpoint and of the exported model, of the images that are labelled.
    """

    pairs: list[Pair] = field(default_factory=list)
    images: int = 0
    outcomes: tuple[list[Outcome], list[Outcome]] = field(default_factory=lambda: ([], []))

    @property
    def same_share(self) -> float:
        """Of the compared detections, the share that is the same; 1 where there is none."""
        return float(np.mean([pair.same for pair in self.pairs])) if self.pairs else 1.0

    @property
    def ious(self) -> NDArray[np.float64]:
        """[N] overlaps of the compared boxes."""
        return np.array([pair.iou for pair in self.pairs])

    @property
    def score_differences(self) -> NDArray[np.float64]:
        """[N] absolute differences."""
        return np.array([pair.score_difference for pair in self.pairs])

    def add(self, expected: Detections, found: Detections, threshold: float) -> None:
        """One image: what the checkpoint found in it, and what the exported model found; see `pair_up`."""
        self.pairs += pair_up(expected, found, threshold)
        self.images += 1

    def add_labels(
        self,
        expected: Detections,
        found: Detections,
        labelled: LabelledSet,
        record: ImageRecord,
        prompts: Sequence[Prompt],
    ) -> None:
        """What is there in the image, for `precisions`."""
        for outcomes, detections in zip(self.outcomes, (expected, found), strict=True):
            outcomes.append(outcome_of(labelled, record, detections, prompts))

    def precisions(self) -> tuple[float, float] | None:
        """Mean average precision of checkpoint and exported model, in [0, 1]; None without labels."""
        if not self.outcomes[0]:
            return None
        checkpoint, exported = (evaluate(outcomes).figures["AP"] for outcomes in self.outcomes)
        return checkpoint, exported

    def problem(self, precision: Precision) -> str | None:
        """What is out of tolerance, in a few words; None if nothing is.

        float32: every compared box is to be the same, and AP at most 0.1 point lower where there are labels.
        int8: AP at most 1 point lower.
        """
        if precision == "float32" and self.same_share < 1:
            differing = sum(not pair.same for pair in self.pairs)
            return f"{differing} of {len(self.pairs)} boxes differ from those of the checkpoint"
        found = self.precisions()
        if found is not None and found[0] - found[1] > LARGEST_AP_LOSS[precision]:
            return f"AP falls from {found[0]:.4f} to {found[1]:.4f}"
        return None


def compare_files(
    comparison: Comparison,
    checkpoint: Path,
    exported: Path,
    images: Sequence[Path] | LabelledSet,
    prompts: Sequence[Prompt],
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """`compare_images` of a checkpoint and the file that it was exported to.

    Args:
        comparison: is added to.
        checkpoint: what is right.
        exported: what is judged.
        images: where they are labelled, average precision is judged too.
        prompts: what both are asked for.
        on_image: called with the images that are done, and all.

    Raises:
        ToleranceError: they differ by more than its precision allows.
        RtvpError: a file cannot be read.
    """
    detector, config, _ = read_checkpoint(checkpoint)
    network = open_exported(exported)
    facts = network.facts
    total = len(images.images) if isinstance(images, LabelledSet) else len(images)
    compare_images(
        comparison,
        RtvpNamed(TorchNetwork(detector), make_text_encoder(config.text_encoder), facts.input_size),
        RtvpNamed(network, encoder_of(facts), facts.input_size),
        images,
        prompts,
        facts.threshold,
        lambda: on_image(comparison.images, total),
    )
    if problem := comparison.problem(facts.precision):
        raise ToleranceError(problem)


def compare_images(
    comparison: Comparison,
    checkpoint: NamedDetector,
    exported: NamedDetector,
    images: Sequence[Path] | LabelledSet,
    prompts: Sequence[Prompt],
    threshold: float,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Look at every image with both, one in memory at a time, and add what they find to ``comparison``.

    Args:
        comparison: is added to.
        checkpoint: what is right.
        exported: what is judged.
        images: where they are labelled, average precision is judged too.
        prompts: what both are asked for.
        threshold: all detections above it are compared.
        on_image: called after each image.

    Raises:
        RtvpError: an image cannot be read, or the exported model was not made for these prompts.
    """
    records = images.images if isinstance(images, LabelledSet) else images
    for record in records:
        image = read_image(record.path if isinstance(record, ImageRecord) else record)
        expected, found = (detector.detect([image], prompts)[0] for detector in (checkpoint, exported))
        comparison.add(expected, found, threshold)
        if isinstance(images, LabelledSet) and isinstance(record, ImageRecord):
            comparison.add_labels(expected, found, images, record, prompts)
        on_image()


def pair_up(expected: Detections, found: Detections, threshold: float) -> list[Pair]:
    """Each of the best of ``expected``, and of all over ``threshold``, with what overlaps most in ``found``.

    Boxes are paired by overlap, within a prompt, before ranks are looked at: near ties do not pair strangers.
    """
    count = max(min(BEST, len(expected.scores)), int((expected.scores > threshold).sum()))
    overlap = pairwise_iou(expected.boxes_xyxy[:count], found.boxes_xyxy)
    overlap[expected.labels[:count, None] != found.labels] = 0.0
    pairs = []
    for rank in range(count):
        other = int(overlap[rank].argmax()) if len(found.scores) else 0
        iou = float(overlap[rank].max(initial=0.0))
        if iou == 0:
            pairs.append(Pair(0.0, float(expected.scores[rank]), False))
            continue
        overlap[:, other] = 0.0  # it is taken
        difference = abs(float(expected.scores[rank] - found.scores[other]))
        pairs.append(Pair(iou, difference, _in_order(expected.scores, rank, other)))
    return pairs


def _in_order(scores: Floats, rank: int, other: int) -> bool:
    if rank == other:
        return True
    return other < len(scores) and abs(float(scores[rank] - scores[other])) <= SAME_SCORE
