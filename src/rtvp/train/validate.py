"""A detector on labelled images, source by source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from rtvp.data.images import letterbox, read_image
from rtvp.evaluate.average_precision import Prediction, average_precision
from rtvp.mmio.schema import ImageRecord
from rtvp.models.detector import RTVPDetector
from rtvp.models.postprocess import postprocess
from rtvp.models.text_encoder import embed_prompts
from rtvp.models.text_encoder.base import TextEncoder
from rtvp.types import Prompt

SCORE_FLOOR = 0.001  # average precision needs the low scores too


def validate(
    detector: RTVPDetector,
    encoder: TextEncoder,
    images: Mapping[str, Sequence[ImageRecord]],
    names: Mapping[str, Sequence[str]],
    size: int,
    batch_size: int = 8,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Average precision of each source, its images prompted with its own plain names.

    Args:
        detector: in eval mode.
        encoder: gives the text embeddings.
        images: per source.
        names: per source: the prompts. Annotations with other names are left out of the ground truth.
        size: side of the network input, px.
        batch_size: images at once.

    Yields:
        The source's name and: ``images``, ``boxes``, ``AP``, ``AP50``, ``AP75``.
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
        figures = average_precision(truth, predictions, [prompt.name for prompt in prompts])
        yield source, {"images": len(records), "boxes": sum(map(len, truth)), **figures}


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
    output = detector(torch.stack(inputs).float().to(device), text.to(device))
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
