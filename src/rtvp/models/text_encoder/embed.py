"""Prompts to embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtvp.models.text_encoder.base import TextEncoder
from rtvp.models.text_encoder.cache import EmbeddingCache
from rtvp.types import Floats, Prompt

LEAST_NORM = 1e-12  # texts that cancel each other out have no direction


def embed_prompts(
    prompts: Sequence[Prompt], encoder: TextEncoder, cache: EmbeddingCache | None = None
) -> Floats:
    """K prompts to [K, width] float32 of unit L2 norm: each the direction of the mean over its texts.

    With a cache that knows every text, the encoder's weights are not loaded.

    Raises:
        RtvpError: the encoder's weights are needed, and missing or damaged.
    """
    texts = list(dict.fromkeys(text for prompt in prompts for text in prompt.all_texts))
    embeddings = _embed_texts(texts, encoder, cache)
    if not prompts:
        return np.zeros((0, encoder.width), np.float32)
    means = np.stack([np.mean([embeddings[text] for text in prompt.all_texts], axis=0) for prompt in prompts])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.maximum(lengths, LEAST_NORM), np.float32)


def _embed_texts(texts: list[str], encoder: TextEncoder, cache: EmbeddingCache | None) -> dict[str, Floats]:
    if cache is None:
        return dict(zip(texts, encoder.encode(texts), strict=True))
    known = {text: cached for text in texts if (cached := cache.get(encoder, text)) is not None}
    missing = [text for text in texts if text not in known]
    if missing:
        fresh = dict(zip(missing, encoder.encode(missing), strict=True))
        for text, embedding in fresh.items():
            cache.put(encoder, text, embedding)
        known |= fresh
    return known
