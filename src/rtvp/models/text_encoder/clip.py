"""The text half of CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rtvp.models.clip_files import ClipFiles
from rtvp.types import Floats

BATCH = 64  # texts encoded at once: bounds memory when a vocabulary is long


class ClipText:
    """CLIP's projected text embeddings, through transformers.

    Args:
        source: see `ClipFiles`.

    Raises:
        RtvpError: as `ClipFiles`.
    """

    def __init__(self, source: str) -> None:
        self._files = ClipFiles(source)
        self.name = self._files.name

    @property
    def version(self) -> str:
        """See `ClipFiles.version`."""
        return self._files.version

    @cached_property
    def width(self) -> int:
        """Width of CLIP's common space: ``projection_dim`` of the configuration."""
        return int(self._config.projection_dim)

    def encode(self, texts: Sequence[str]) -> Floats:
        """See ``TextEncoder.encode``. Tokens past CLIP's context (77) are not read.

        Raises:
            RtvpError: the files cannot be had, are damaged, or lack a weight.
        """
        chunks = [self._encode_chunk(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        return np.concatenate(chunks) if chunks else np.zeros((0, self.width), np.float32)

    def _encode_chunk(self, texts: Sequence[str]) -> Floats:
        context = self._config.max_position_embeddings
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=context, return_tensors="pt"
        )
        # No autocast: the result may be cached, so its precision must not depend on who asked first.
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            embeddings = self._model(tokens.input_ids, tokens.attention_mask).text_embeds  # [N, width]
            return F.normalize(embeddings, dim=-1).numpy()

    @cached_property
    def _config(self) -> Any:
        return self._files.load("CLIPTextConfig")

    @cached_property
    def _tokenizer(self) -> Any:
        return self._files.load("CLIPTokenizerFast")

    @cached_property
    def _model(self) -> Any:
        return self._files.load_model("CLIPTextModelWithProjection")
