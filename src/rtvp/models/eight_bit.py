"""Weights as 8-bit integers: half the size of float16, for checkpoints that ship."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"  # of the tensor whose name stands before it
FEWEST = 1024  # values from which on a tensor is worth it
LEVELS = 127


def to_eight_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large float matrices and kernels as int8 and one float32 scale per output channel; others as they are.

    A weight moves by at most 1/254 of the largest one of its output channel.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() < FEWEST:
            stored[name] = tensor
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / LEVELS
        stored[name] = (rows / scale[:, None]).round().to(torch.int8).view_as(tensor)
        stored[name + SCALE] = scale
    return stored


def from_eight_bits(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `to_eight_bits` stored, as float32; other tensors as they are."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        scale = stored.get(name + SCALE)
        if scale is not None and tensor.ndim > 1 and scale.shape == tensor.shape[:1]:
            tensors[name] = tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1))
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in stored):
            tensors[name] = tensor
    return tensors
