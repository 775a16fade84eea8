"""Text embeddings during training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rtvp.models.text_encoder.base import TextEncoder


class RememberingTextEncoder:
    """A frozen text encoder that encodes each text once a run.

    Training asks for the same few hundred texts at every step; the answers of a frozen encoder do not change.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self.name, self.version, self.width = encoder.name, encoder.version, encoder.width
        self._known: dict[str, Tensor] = {}

    def encode(self, texts: Sequence[str]) -> Tensor:
        """N texts to [N, width] float32 of unit L2 norm."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known |= dict(zip(missing, self.encoder.encode(missing), strict=True))
        return torch.stack([self._known[text] for text in texts])
