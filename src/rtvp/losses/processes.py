"""Figures over all processes that train together, a share of each batch each. Alone, all are as they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of the processes this is, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor that has the same shape in every process; all have to call this.

    Gradients pass: a process's value also receives what the others' use of the mean sends back.
    """
    if world_size() == 1:
        return value
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total / world_size()


class _Sum(torch.autograd.Function):
    """Sum over the processes. Each gradient is the sum over the processes as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total
