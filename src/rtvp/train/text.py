"""Text embeddings during training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtvp.models.text_encoder.base import TextEncoder
from rtvp.types import Floats


class RememberingTextEncoder:
    """A frozen text encoder that encodes each text once a run.

    Training asks for the same few hundred texts at every step; the answers of a frozen encoder do not change.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self.name, self.version, self.width = encoder.name, encoder.version, encoder.width
        self._known: dict[str, Floats] = {}

    def encode(self, texts: Sequence[str]) -> Floats:
        """N texts to [N, width] float32 of unit L2 norm."""
        # One by one: beside longer texts a text is padded, which changes its last digits. So it would matter
        # which texts came together, and a run that was resumed would differ from an unbroken one.
        for text in texts:
            if text not in self._known:
                self._known[text] = self.encoder.encode([text])[0]
        return np.stack([self._known[text] for text in texts])
