from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rtvp.models.text_encoder import embed_prompts
from rtvp.train.text import RememberingTextEncoder
from rtvp.types import Floats, Prompt


class LengthEncoder:
    """An embedding from the letters of the text; counts what it is asked."""

    name, version, width = "length", "1", 3

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        rows = [[len(text), text.count("a") + 1.0, text.count("e")] for text in texts]
        return np.array(rows, np.float32) / np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)


@pytest.fixture
def encoder() -> LengthEncoder:
    return LengthEncoder()


def test_same_answers_in_the_order_asked(encoder: LengthEncoder) -> None:
    remembering = RememberingTextEncoder(encoder)
    assert (remembering.name, remembering.version, remembering.width) == ("length", "1", 3)
    for texts in (["scratch", "dent"], ["dent", "crease", "scratch", "dent"], ["crease"]):
        assert np.array_equal(remembering.encode(texts), LengthEncoder().encode(texts))


def test_every_text_is_encoded_once(encoder: LengthEncoder) -> None:
    remembering = RememberingTextEncoder(encoder)
    for _ in range(3):
        remembering.encode(["scratch", "dent", "scratch"])
    remembering.encode(["dent", "crack"])
    assert encoder.asked == ["scratch", "dent", "crack"]


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(encoder: LengthEncoder) -> None:
    """Encoders pad short texts to the longest of a batch; the digits of a resumed run would differ."""
    batches: list[int] = []
    encode = encoder.encode

    def counted(texts: Sequence[str]) -> Floats:
        batches.append(len(texts))
        return encode(texts)

    encoder.encode = counted  # type: ignore[method-assign]
    RememberingTextEncoder(encoder).encode(["dent", "a very long groove", "dent", "crease"])
    assert batches == [1, 1, 1]


def test_serves_prompts(encoder: LengthEncoder) -> None:
    prompts = [Prompt("scratch", ("a groove",)), Prompt("dent")]
    remembering = RememberingTextEncoder(encoder)
    embed_prompts(prompts, remembering)
    assert np.array_equal(embed_prompts(prompts, remembering), embed_prompts(prompts, LengthEncoder()))
