from __future__ import annotations

import numpy as np
import pytest

from rtvp.errors import RtvpError
from rtvp.models.text_encoder import VocabularyEncoder, embed_prompts
from rtvp.types import Prompt

PROMPTS = (Prompt("scratch"), Prompt("oil stain", ("dark smear", "shiny patch")), Prompt("dent"))


def test_every_text_of_a_prompt_picks_its_column() -> None:
    encoder = VocabularyEncoder(PROMPTS)
    assert encoder.width == 3
    assert np.array_equal(encoder.encode(["dent", "shiny patch"]), np.eye(3)[[2, 1]])
    assert np.array_equal(embed_prompts(PROMPTS[::-1], encoder), np.eye(3)[::-1])


def test_other_texts_are_refused() -> None:
    with pytest.raises(
        RtvpError, match="exported for the prompts scratch, oil stain, dent alone, got 'crack'"
    ):
        VocabularyEncoder(PROMPTS).encode(["scratch", "crack"])


def test_prompts_have_to_be_told_apart() -> None:
    with pytest.raises(RtvpError, match="got 'dent' in two"):
        VocabularyEncoder([*PROMPTS, Prompt("hollow", ("dent",))])
    with pytest.raises(RtvpError, match="at least one"):
        VocabularyEncoder([])
