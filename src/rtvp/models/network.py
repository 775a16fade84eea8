"""What runs a detector, as everything behind it sees it: arrays in, arrays out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtvp.types import Floats, Predictions


class Network(Protocol):
    """A detector in PyTorch (`TorchNetwork`), or an exported one (`ExportedNetwork`)."""

    @property
    def device(self) -> str:
        """Where it computes: ``cpu`` or ``cuda``."""
        ...

    def __call__(self, images: NDArray[np.uint8], text: Floats) -> Predictions:
        """Predict.

        Args:
            images: [B, 3, H, W] RGB, H and W multiples of 32.
            text: [K, D] embeddings of the prompts.

        Raises:
            RtvpError: it could not be computed; says why.
        """
        ...
