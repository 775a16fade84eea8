"""What may be wrong with a set of prompts, before anybody trusts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtvp.models.text_encoder import VocabularyEncoder, embed_prompts
from rtvp.predict.detector import Detector
from rtvp.types import Floats, Prompt

ALIKE = 0.85  # cosine: MiniLM has 0.86 for "scratch" and "scratches", 0.68 for "hole" and "pinhole"
FAR = 0.45  # cosine to the nearest name: 0.40 for "logo", 0.67 for "fracture"
OFTEN = 0.2  # share of the good images


def check_prompts(
    detector: Detector,
    prompts: Sequence[Prompt],
    trained: Sequence[str],
    good: NDArray[np.float64] | None = None,
) -> list[str]:
    """Warnings, a line each.

    Args:
        detector: whose text encoder reads them.
        prompts: what is looked for.
        trained: names of the kinds that models here are trained with.
        good: [N, K] the highest score of each prompt in each of N good images, if there are any.
    """
    if isinstance(detector.text_encoder, VocabularyEncoder):
        trained = ()  # its embeddings say which prompt is meant, not what it means
    own = _embed(detector, prompts)
    between, near = (own @ own.T).tolist(), own @ _embed(detector, [Prompt(name) for name in trained]).T
    warnings = []
    for i, first in enumerate(prompts):
        for j, second in enumerate(prompts[:i]):
            if between[i][j] > ALIKE:
                warnings.append(
                    f"{second.name!r} and {first.name!r}: the text encoder hardly tells them apart "
                    f"(similarity {between[i][j]:.2f}); expect both names on the same defects"
                )
        if len(trained) and float(near[i].max()) < FAR:
            nearest = trained[int(near[i].argmax())]
            warnings.append(
                f"{first.name!r}: far from every name that models are trained with (the nearest is "
                f"{nearest!r}, similarity {float(near[i].max()):.2f}); describe it, or ask for 'defect' too"
            )
        if good is not None and len(good):
            share = float((good[:, i] > detector.threshold).mean())
            if share > OFTEN:
                warnings.append(
                    f"{first.name!r}: fires on {100 * share:.0f} % of the good images at the model's own "
                    f"threshold {detector.threshold:.2f}"
                )
    return warnings


def _embed(detector: Detector, prompts: Sequence[Prompt]) -> Floats:
    return embed_prompts(prompts, detector.text_encoder, detector.cache)
