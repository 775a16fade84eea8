"""Training in several processes, each on a share of every batch, to the same weights as in one."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn

from rtvp.config import TrainConfig
from rtvp.losses.processes import mean_over_processes, world_size

LONGEST_WAIT = timedelta(hours=24)  # of the other processes for the first one


def make_fabric(config: TrainConfig) -> Fabric:
    """Device, precision and processes of a run: those that torchrun started, else this one alone."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // processes
    # An adaptation that has ended gets no gradient; and the first process alone fills caches and validates.
    strategy = DDPStrategy(find_unused_parameters=True, timeout=LONGEST_WAIT)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=processes,
        num_nodes=nodes,
        strategy=strategy if processes * nodes > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def union_over_processes(names: frozenset[str]) -> frozenset[str]:
    """All names that any of the processes has; every process has to call this."""
    if world_size() == 1:
        return names
    gathered: list[frozenset[str]] = [frozenset()] * world_size()
    distributed.all_gather_object(gathered, names)
    return frozenset.union(*gathered)


def synchronise_norms(module: nn.Module) -> None:
    """Let every batch normalisation in ``module`` see the whole batch of all processes, in place.

    Parameters, buffers and the names in the state dict stay.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, GlobalBatchNorm2d(child))


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes, which are of one shape, in training.

    Unlike torch's `SyncBatchNorm` it runs on a CPU, too.

    Args:
        norm: whose parameters and buffers it takes over.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.train(norm.training)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape and type."""
        if not self.training or world_size() == 1:
            return super().forward(input)
        features = input.float()
        spread, centre = torch.var_mean(features, dim=(0, 2, 3), correction=0)
        mean = mean_over_processes(centre)
        variance = mean_over_processes(spread + (centre - mean).square())
        self._track(mean.detach(), variance.detach(), world_size() * features[:, 0].numel())
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (features * scale[:, None, None] + shift[:, None, None]).to(input)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics, as `nn.BatchNorm2d` keeps them: with the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
