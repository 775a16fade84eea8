"""What every text encoder is to the rest of the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rtvp.types import Floats


class TextEncoder(Protocol):
    """Texts to points on a sphere, on the CPU, frozen.

    Building one is cheap: weights are loaded by the first ``encode``, so that a run whose texts are all in
    the ``EmbeddingCache`` never pays for them.
    """

    @property
    def name(self) -> str:
        """Which encoder, as written in a configuration: ``minilm``, ``clip:FOLDER_OR_HUB_NAME``."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the weights do; embeddings of two versions are not comparable."""
        ...

    @property
    def width(self) -> int:
        """Length D of an embedding."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """N texts to [N, width] float32 of unit L2 norm.

        Raises:
            RtvpError: the weights are missing or damaged.
        """
        ...
