"""A detector in PyTorch, for what knows arrays alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.types import DetectorOutput, Floats, Predictions


class TorchNetwork:
    """A `Network` that PyTorch runs.

    Args:
        module: images [B, 3, H, W] (float RGB, 0..255) and text [K, D] to `DetectorOutput`, such as
            `RTVPDetector`; it goes to ``device`` and into eval mode.
        device: ``cpu`` or ``cuda``.
        half: compute in bfloat16 what bears it (autocast), with float32 weights.
    """

    def __init__(self, module: nn.Module, device: str = "cpu", half: bool = False) -> None:
        self.module, self.device, self.half = module.to(device).eval(), device, half

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8], text: Floats) -> Predictions:
        """See `Network`.

        Raises:
            RtvpError: the GPU has too little memory.
        """
        try:
            with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
                words = torch.from_numpy(text).to(self.device)
                output: DetectorOutput = self.module(to_tensor(images, self.device), words)
                return output.predictions()
        except torch.OutOfMemoryError as error:
            raise RtvpError(
                "the GPU has too little memory: take a smaller batch or size, or the CPU"
            ) from error


def to_tensor(images: NDArray[np.uint8], device: str = "cpu") -> Tensor:
    """[B, 3, H, W] uint8 to float32 in 0..255 on ``device``."""
    return torch.from_numpy(images).to(device).float()  # bytes cross to the device, a quarter of the floats
