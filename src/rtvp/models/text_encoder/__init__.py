"""Text encoders: words to embeddings, with a cache on disk."""

from __future__ import annotations

from collections.abc import Callable

from rtvp.errors import RtvpError
from rtvp.models.text_encoder.base import TextEncoder
from rtvp.models.text_encoder.cache import EmbeddingCache
from rtvp.models.text_encoder.embed import embed_prompts
from rtvp.models.text_encoder.minilm import MiniLM
from rtvp.models.text_encoder.vocabulary import VocabularyEncoder

__all__ = [
    "EmbeddingCache",
    "MiniLM",
    "TextEncoder",
    "VocabularyEncoder",
    "embed_prompts",
    "make_text_encoder",
]


def _clip(source: str) -> TextEncoder:
    from rtvp.models.text_encoder.clip import ClipText  # torch: whoever wants another encoder goes without

    return ClipText(source)


# How an encoder is written in a configuration -> what builds it, which takes what is written after the colon.
TEXT_ENCODERS: dict[str, Callable[..., TextEncoder]] = {
    "minilm": MiniLM,
    "clip:FOLDER_OR_HUB_NAME": _clip,
}


def make_text_encoder(spec: str) -> TextEncoder:
    """Build the encoder that ``spec`` names. Cheap: weights are loaded by the first ``encode``.

    Raises:
        RtvpError: no such encoder, or its folder is missing or incomplete.
    """
    kind, colon, argument = spec.partition(":")
    for form, build in TEXT_ENCODERS.items():
        if form.partition(":")[:2] == (kind, colon) and bool(argument) == bool(colon):
            return build(argument) if argument else build()
    raise RtvpError(f"text encoder: expected {' or '.join(TEXT_ENCODERS)}, got {spec!r:.80}")
