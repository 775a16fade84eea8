"""A detector on labelled images, source by source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from rtvp.data.images import letterbox, read_image, to_batch
from rtvp.evaluate.average_precision import Prediction, Truth, average_precision
from rtvp.mmio.schema import ImageRecord
from rtvp.models.detector import RTVPDetector
from rtvp.models.postprocess import postprocess
from rtvp.models.text_encoder import embed_prompts
from rtvp.models.text_encoder.base import TextEncoder
from rtvp.types import Prompt

SCORE_FLOOR = 0.001  # average precision needs the low scores too


class Outcome(NamedTuple):
    """What was to be found in the images of one source, and what was found; one entry an image."""

    names: tuple[str, ...]
    truth: list[list[Truth]]
    predictions: list[list[Prediction]]

    def figures(self) -> dict[str, float]:
        """``images``, ``boxes``, ``AP``, ``AP50``, ``AP75``."""
        counts = {"images": len(self.truth), "boxes": sum(map(len, self.truth))}
        return {**counts, **average_precision(self.truth, self.predictions, self.names)}


def validate(
    detector: RTVPDetector,
    encoder: TextEncoder,
    images: Mapping[str, Sequence[ImageRecord]],
    names: Mapping[str, Sequence[str]],
    size: int,
    batch_size: int = 8,
) -> Iterator[tuple[str, Outcome]]:
    """Detect in each source's images, prompted with that source's own plain names.

    Args:
        detector: in eval mode.
        encoder: gives the text embeddings.
        images: per source.
        names: per source: the prompts. Annotations with other names are left out of the ground truth.
        size: side of the network input, px.
        batch_size: images at once.

    Yields:
        The source's name and its outcome.
    """
    for source, records in images.items():
        prompts = [Prompt(name) for name in names[source]]
        text = embed_prompts(prompts, encoder)
        predictions: list[list[Prediction]] = []
        for start in range(0, len(records), batch_size):
            predictions += _predict(detector, text, records[start : start + batch_size], size, prompts)
        truth = [
            [(a.name, a.box_xyxy) for a in record.annotations if a.name in names[source]]
            for record in records
        ]
        yield source, Outcome(tuple(names[source]), truth, predictions)


@torch.inference_mode()
def _predict(
    detector: RTVPDetector,
    text: torch.Tensor,
    records: Sequence[ImageRecord],
    size: int,
    prompts: Sequence[Prompt],
) -> list[list[Prediction]]:
    device = next(detector.parameters()).device
    inputs, letterboxes = zip(*(letterbox(read_image(record.path), size) for record in records), strict=True)
    output = detector(to_batch(inputs, device), text.to(device))
    found = postprocess(output, letterboxes, SCORE_FLOOR)
    return [
        [
            (prompts[label].name, score, (box[0], box[1], box[2], box[3]))
            for box, score, label in zip(
                d.boxes_xyxy.tolist(), d.scores.tolist(), d.labels.tolist(), strict=True
            )
        ]
        for d in found
    ]
