"""Optimiser, learning-rate schedule and the moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rtvp.config import StageConfig


def make_optimizer(module: nn.Module, stage: StageConfig) -> torch.optim.AdamW:
    """AdamW over what learns: no decay on biases and norms, an own rate for image encoders that learn."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            key = ("image_encoder" in name, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "base_lr": stage.encoder_learning_rate if in_encoder else stage.learning_rate,
                "weight_decay": stage.weight_decay if decays else 0.0,
            }
            for (in_encoder, decays), parameters in groups.items()
        ],
        lr=stage.learning_rate,
    )


def learning_rate_factor(step: int, stage: StageConfig) -> float:
    """Linear warm-up, then a cosine that would reach ``final_share`` one step after the last, steps - 1."""
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    span = max(1, stage.steps - stage.warmup_steps)
    progress = (step - stage.warmup_steps) / span
    return stage.final_share + (1 - stage.final_share) * (1 + math.cos(math.pi * progress)) / 2


class MovingAverage:
    """Exponential moving average of a module's weights and statistics; counters are copied.

    The decay rises to ``decay`` over the first steps, so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value.detach(), 1 - decay)
            else:
                self.values[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights, loadable by ``load_state_dict``."""
        return self.values
