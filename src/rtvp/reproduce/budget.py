"""How much work goes into each arm of an experiment."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field

from rtvp.config import StageConfig, StrictModel, TrainConfig, load_config

BudgetName = Literal["smoke", "cpu", "gpu", "paper"]
BUDGETS: tuple[BudgetName, ...] = ("smoke", "cpu", "gpu", "paper")  # rising


class Budget(StrictModel):
    """The same for all arms: what they are trained with, how often, and what they are tested on."""

    seeds: int = Field(ge=1, description="runs of each arm, with seeds from 0")
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="of the training side; decides training.steps. null: as given",
    )
    expert_epochs: int | None = Field(default=None, ge=1, description="likewise of expert.pretraining")
    test_images: int | None = Field(
        default=None, ge=1, description="at most so many images of a test side, shared out over its sets"
    )
    bootstrap: int = Field(default=0, ge=0, description="resamplings for confidence intervals")
    train: TrainConfig = Field(description="of the full method; the split and the seed are the experiment's")

    def for_images(self, config: TrainConfig, images: int) -> TrainConfig:
        """``config`` with the steps that the epochs ask for, where there are so many training images."""
        expert = config.expert
        if expert is not None:
            pretraining = _of_epochs(expert.pretraining, self.expert_epochs, images)
            expert = expert.model_copy(update={"pretraining": pretraining})
        training = _of_epochs(config.training, self.epochs, images)
        return config.model_copy(update={"training": training, "expert": expert})


def _of_epochs(stage: StageConfig, epochs: int | None, images: int) -> StageConfig:
    if epochs is None:
        return stage
    return stage.model_copy(update={"steps": epochs * math.ceil(images / stage.batch_size)})


def load_budget(name: BudgetName) -> Budget:
    """A budget of the package, read from ``budgets/NAME.yaml``."""
    with resources.as_file(resources.files("rtvp.reproduce") / "budgets" / f"{name}.yaml") as path:
        return load_config(Path(path), Budget)
