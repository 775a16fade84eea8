"""Labels and a detector to outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rtvp.data.dataset import GENERIC_NAME
from rtvp.data.images import read_image
from rtvp.data.labelled import LabelledSet
from rtvp.evaluate.outcome import Outcome, Prediction
from rtvp.measure.named import NamedDetector
from rtvp.mmio.schema import ImageRecord
from rtvp.types import Detections, Prompt


def measure(
    detector: NamedDetector,
    sets: Sequence[LabelledSet],
    prompts: Callable[[LabelledSet], Sequence[Prompt]],
    batch_size: int = 8,
    on_image: Callable[[], None] | None = None,
) -> list[Outcome]:
    """Detect in every image of every set.

    A set knows of its own vocabulary where it is and where it is not, and of its good images that nothing
    asked for is there. `GENERIC_NAME`, asked for alone, is the name of every labelled box.

    Args:
        detector: what to measure.
        sets: the labelled images.
        prompts: what a set is asked for; see `make_prompts`.
        batch_size: images that are in memory at once.
        on_image: called after each image.

    Returns:
        One outcome an image, in order.

    Raises:
        RtvpError: an image cannot be read.
    """
    outcomes = []
    for labelled in sets:
        asked = prompts(labelled)
        names = frozenset(prompt.name for prompt in asked)
        labels = [_labels(labelled, record, names) for record in labelled.images]
        outcomes += measure_labels(detector, labels, asked, batch_size, on_image)
    return outcomes


def measure_labels(
    detector: NamedDetector,
    labels: Sequence[Outcome],
    prompts: Sequence[Prompt],
    batch_size: int = 8,
    on_image: Callable[[], None] | None = None,
) -> list[Outcome]:
    """Detect in images whose labels are outcomes without predictions; ``image`` is the path of the file.

    Names that are not asked for are not judged. Else as `measure`.
    """
    outcomes = []
    for start in range(0, len(labels), batch_size):
        batch = labels[start : start + batch_size]
        found = detector.detect([read_image(outcome.image) for outcome in batch], prompts)
        for outcome, detections in zip(batch, found, strict=True):
            outcomes.append(_with_detections(outcome, detections, prompts))
            if on_image:
                on_image()
    return outcomes


def outcome_of(
    labelled: LabelledSet, record: ImageRecord, detections: Detections, prompts: Sequence[Prompt]
) -> Outcome:
    """One image of a set with what was found in it when asked for ``prompts``."""
    labels = _labels(labelled, record, frozenset(prompt.name for prompt in prompts))
    return _with_detections(labels, detections, prompts)


def _labels(labelled: LabelledSet, record: ImageRecord, asked: frozenset[str]) -> Outcome:
    return Outcome(
        image=str(record.path),
        source=labelled.name,
        scene=labelled.scene,
        super_category=labelled.super_category,
        width=record.width,
        height=record.height,
        truth=tuple((annotation.name, annotation.box_xyxy) for annotation in record.annotations),
        predictions=(),
        annotated=labelled.vocabulary if record.annotations else asked,
        group=f"{labelled.name}/{record.group}",
    )


def _with_detections(labels: Outcome, detections: Detections, prompts: Sequence[Prompt]) -> Outcome:
    asked = frozenset(prompt.name for prompt in prompts)
    judged = labels.as_one_name(GENERIC_NAME) if asked == {GENERIC_NAME} else labels
    predictions = _predictions(detections, prompts)
    return replace(judged, predictions=predictions, annotated=judged.annotated & asked)


def _predictions(detections: Detections, prompts: Sequence[Prompt]) -> tuple[Prediction, ...]:
    columns = (detections.labels.tolist(), detections.scores.tolist(), detections.boxes_xyxy.tolist())
    return tuple(
        (prompts[label].name, score, (box[0], box[1], box[2], box[3]))
        for label, score, box in zip(*columns, strict=True)
    )
