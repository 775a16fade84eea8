from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from rtvp.config import StageConfig
from rtvp.train.optim import MovingAverage, learning_rate_factor, make_optimizer

STAGE = StageConfig(
    steps=100, warmup_steps=10, final_share=0.01, learning_rate=2e-3, encoder_learning_rate=3e-4
)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.neck = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.fixed = nn.Linear(2, 2).requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(1.0))


def groups_by_name(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Rate and decay of each parameter that the optimiser knows."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, STAGE)
    return {
        names[p]: (group["base_lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_groups() -> None:
    decay = STAGE.weight_decay
    assert groups_by_name(Model()) == {
        "image_encoder.0.weight": (3e-4, decay),
        "image_encoder.0.bias": (3e-4, 0.0),
        "image_encoder.1.weight": (3e-4, 0.0),
        "image_encoder.1.bias": (3e-4, 0.0),
        "neck.0.weight": (2e-3, decay),
        "neck.0.bias": (2e-3, 0.0),
        "neck.1.weight": (2e-3, 0.0),
        "neck.1.bias": (2e-3, 0.0),
        "scale": (2e-3, 0.0),
    }


def test_a_frozen_encoder_is_not_optimised() -> None:
    model = Model()
    model.image_encoder.requires_grad_(False)
    assert not any(name.startswith("image_encoder") for name in groups_by_name(model))


def test_schedule_at_its_ends() -> None:
    factors = [learning_rate_factor(step, STAGE) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert learning_rate_factor(55, STAGE) == pytest.approx((1 + 0.01) / 2)
    assert factors[99] == pytest.approx(0.01, abs=5e-4)
    assert learning_rate_factor(100, STAGE) == pytest.approx(0.01)
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_schedule_without_warm_up_and_shorter_than_it() -> None:
    plain = STAGE.model_copy(update={"warmup_steps": 0})
    assert learning_rate_factor(0, plain) == 1.0
    short = STAGE.model_copy(update={"steps": 3, "warmup_steps": 200})
    assert [learning_rate_factor(step, short) for step in range(3)] == [1 / 200, 2 / 200, 3 / 200]
    assert all(
        math.isfinite(learning_rate_factor(s, STAGE.model_copy(update={"steps": 10}))) for s in range(12)
    )


def test_average_equals_the_formula() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = MovingAverage(model, decay=0.5)
    expected = {name: value.clone().double() for name, value in model.state_dict().items()}
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(4, 3))  # moves the statistics and their counter
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            counter = name.endswith("num_batches_tracked")
            expected[name] = (
                value.double() if counter else decay * expected[name] + (1 - decay) * value.double()
            )
    assert average.state().keys() == model.state_dict().keys()
    for name, value in average.state().items():
        torch.testing.assert_close(value.double(), expected[name], msg=name)
    assert average.state()["1.num_batches_tracked"] == 29


def test_average_is_a_copy_and_leaves_constant_weights_exactly() -> None:
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    average = MovingAverage(model, decay=0.9)
    for _ in range(5):
        average.update(model)
    assert torch.equal(average.state()["weight"], before)
    with torch.no_grad():
        model.weight.zero_()
    assert torch.equal(average.state()["weight"], before)
