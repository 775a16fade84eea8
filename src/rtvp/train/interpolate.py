"""Weights between those that training began with and those that it found."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def interpolate(detector: nn.Module, start: Mapping[str, Tensor], keep: float) -> None:
    """Move weights back towards those of the start: keep * start + (1 - keep) * tuned, in place.

    This is WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models") with alpha = 1 - keep.

    Args:
        detector: with the tuned weights.
        start: name -> weight, as in its state dict.
        keep: from 0, the tuned weights, to 1, those of the start.
    """
    if not keep:
        return
    tuned = detector.state_dict()  # on the device where it was trained, which the start may not be
    detector.load_state_dict(
        {
            name: torch.lerp(v, start[name].to(v.device), keep) if v.is_floating_point() else v
            for name, v in tuned.items()
        }
    )
