"""How much work the budgets of the package ask for."""

from __future__ import annotations

import pytest

from rtvp.config import TrainConfig, parse_config
from rtvp.errors import RtvpError
from rtvp.reproduce.budget import BUDGETS, Budget, load_budget


def test_budgets_rise() -> None:
    pictures = [
        b.seeds * b.train.training.steps * b.train.training.batch_size for b in map(load_budget, BUDGETS)
    ]
    assert pictures == sorted(pictures)
    assert all(load_budget(name).train.data.split for name in BUDGETS)


def test_the_paper_budget_is_the_papers_recipe() -> None:
    budget = load_budget("paper")
    train, stage = budget.train, budget.train.training
    assert (budget.epochs, stage.batch_size, stage.sizes) == (200, 32, (640,))
    assert (stage.learning_rate, stage.weight_decay) == (2e-3, 0.025)
    encoder = train.detector.image_encoder
    assert (encoder.name, encoder.frozen) == ("mobile_sam", True)
    assert train.detector.text_encoder.startswith("clip:")
    assert train.expert is not None and not train.expert.shares_encoder
    assert train.data.synthetic_share == 0
    # As for the paper's own 18,811 training images.
    assert budget.for_images(train, 18_811) == train


def test_epochs_count_started_batches() -> None:
    budget = load_budget("paper")
    config = budget.for_images(budget.train, 65)
    assert config.expert is not None
    assert (config.training.steps, config.expert.pretraining.steps) == (600, 60)


def test_without_epochs_the_steps_stay() -> None:
    budget = load_budget("cpu")
    assert budget.for_images(budget.train, 7) == budget.train


def test_an_unknown_key_is_named() -> None:
    content = {"seeds": 1, "sedes": 2, "train": {"data": {"sources": ["a"]}, "training": {"steps": 1}}}
    with pytest.raises(RtvpError, match="sedes"):
        parse_config(content, Budget, "budget.yaml")
    del content["sedes"]
    assert isinstance(parse_config(content, Budget, "budget.yaml").train, TrainConfig)
