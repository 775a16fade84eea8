"""What is fitted after training: the four numbers of `PresenceHead`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from rtvp.data.dataset import GENERIC_NAME
from rtvp.data.images import Pixels, letterbox, read_image, run_by_shape
from rtvp.data.labelled import LabelledSet
from rtvp.mmio.schema import ImageRecord
from rtvp.models.detector import RTVPDetector
from rtvp.models.presence import STATISTICS, PresenceHead, presence_statistics
from rtvp.models.text_encoder import TextEncoder, embed_prompts
from rtvp.models.torch_network import to_tensor
from rtvp.types import Prompt

IMAGES_A_SET = 150
BATCH = 8
RIDGE = 1e-3  # keeps the weights finite where presence is told apart without error

Floats = NDArray[np.float64]


def fit_presence(
    detector: RTVPDetector, sets: Sequence[LabelledSet], encoder: TextEncoder, size: int
) -> None:
    """Fit the presence head by logistic regression; nothing else of the detector changes.

    Each set is asked for its own names and for any defect. In every set, the pairs of image and prompt where
    it is there weigh as much as those where it is not, and every set weighs the same.

    Args:
        detector: in eval mode, on the CPU, with a presence head.
        sets: what the detector was trained on; of each at most 150 images, good ones first.
        encoder: gives the text embeddings.
        size: side of the network input, px.
    """
    assert detector.presence is not None
    statistics, present, weights = [], [], []
    for labelled in sets:
        own = _look(detector, labelled, encoder, size)
        for shown in (False, True):
            chosen = own[1] == shown
            statistics.append(own[0][chosen])
            present.append(own[1][chosen])
            weights.append(np.full(chosen.sum(), 1.0 / max(1, chosen.sum())))
    found = _logistic_regression(np.concatenate(statistics), np.concatenate(present), np.concatenate(weights))
    _set(detector.presence, found)


def _look(
    detector: RTVPDetector, labelled: LabelledSet, encoder: TextEncoder, size: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """[P, 3] statistics and [P] presence of all pairs of image and prompt."""
    names = [GENERIC_NAME, *sorted(labelled.vocabulary)]
    text = torch.from_numpy(embed_prompts([Prompt(name) for name in names], encoder))
    images = _some(labelled.images)

    @torch.inference_mode()
    def run(placed: list[Pixels]) -> list[Floats]:
        logits = detector(to_tensor(np.stack(placed)), text).logits
        return [each.double().numpy() for each in presence_statistics(logits)]

    statistics: list[Floats] = []
    for start in range(0, len(images), BATCH):
        pixels = [letterbox(read_image(record.path), size)[0] for record in images[start : start + BATCH]]
        statistics += run_by_shape(pixels, lambda each: each, run)
    present = [_shows(record, names) for record in images]
    return np.concatenate(statistics), np.concatenate(present)


def _some(images: Sequence[ImageRecord]) -> list[ImageRecord]:
    rest = [record for record in images if record.annotations]
    room = max(IMAGES_A_SET // 2, IMAGES_A_SET - len(rest))  # many good ones must not leave none for defects
    good = [record for record in images if not record.annotations][:room]
    step = max(1, -(-len(rest) // max(1, IMAGES_A_SET - len(good))))
    return [*good, *rest[::step]]


def _shows(record: ImageRecord, names: Sequence[str]) -> NDArray[np.bool_]:
    """[K] whether the image shows each of the names, of which the first is any defect."""
    shown = {annotation.name for annotation in record.annotations}
    return np.array([bool(shown), *(name in shown for name in names[1:])])


def _logistic_regression(statistics: Floats, present: NDArray[np.bool_], weights: Floats) -> Floats:
    """[4] coefficients of the standardised statistics' regression, in their own units, and the intercept."""
    centre, spread = statistics.mean(axis=0), statistics.std(axis=0) + 1e-6
    standard, sign = (statistics - centre) / spread, np.where(present, 1.0, -1.0)
    weights = weights / weights.sum()

    def loss(parameters: Floats) -> tuple[float, Floats]:
        margin = sign * (standard @ parameters[:-1] + parameters[-1])
        pull = -sign * weights / (1 + np.exp(margin))
        ridge = RIDGE * np.append(parameters[:-1], 0.0)
        value = weights @ np.logaddexp(0, -margin) + ridge @ parameters / 2
        return float(value), np.append(pull @ standard, pull.sum()) + ridge

    found = minimize(loss, np.zeros(STATISTICS + 1), jac=True, method="L-BFGS-B", tol=1e-10).x
    coefficients = found[:-1] / spread
    return np.append(coefficients, found[-1] - coefficients @ centre)


def _set(head: PresenceHead, parameters: Floats) -> None:
    # Rounded as a checkpoint keeps them, so that what is measured next is what is written.
    rounded = torch.from_numpy(parameters).half()
    head.weight.copy_(rounded[:-1])
    head.bias.copy_(rounded[-1:])
