"""Arms differ in what they are named after, and in nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from rtvp.config import StrictModel, TrainConfig
from rtvp.errors import RtvpError
from rtvp.models.build import build_detector
from rtvp.reproduce.arms import ARMS, LEVER_ARMS, PAPER_ARMS, expert_alone
from rtvp.reproduce.budget import BUDGETS, BudgetName, load_budget


def base(budget: BudgetName) -> TrainConfig:
    return load_budget(budget).train


def differences(first: StrictModel, second: StrictModel) -> dict[str, Any]:
    """Dotted keys at which two configurations differ -> the second's value."""
    return _compare(first.model_dump(), second.model_dump())


def _compare(first: Any, second: Any, key: str = "") -> dict[str, Any]:
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            name: value
            for part in first
            for name, value in _compare(first[part], second[part], f"{key}.{part}".strip(".")).items()
        }
    return {} if first == second else {key: second}


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("arm", PAPER_ARMS)
def test_an_arm_is_a_valid_configuration_with_the_same_data_seed_and_losses(
    budget: BudgetName, arm: str
) -> None:
    config = ARMS[arm].change(base(budget))
    assert TrainConfig.model_validate(config.model_dump()) == config
    same = {"data", "seed", "losses", "masking", "precision", "start_from"}
    assert not same & {key.partition(".")[0] for key in differences(base(budget), config)}
    assert config.training.steps == base(budget).training.steps
    assert config.training.batch_size == base(budget).training.batch_size


@pytest.mark.parametrize("arm", LEVER_ARMS)
def test_a_lever_changes_what_is_learnt_from_or_the_encoder(arm: str) -> None:
    config = ARMS[arm].change(base("cpu"))
    assert TrainConfig.model_validate(config.model_dump()) == config
    changed = {key.partition(".")[0] for key in differences(base("cpu"), config)}
    assert changed and (changed == {"data"} or changed <= {"detector", "expert"})


@pytest.mark.parametrize(
    ("arm", "changed"),
    [
        ("rtvp", {}),
        ("no-prompt", {"detector.visual_prompt.enabled": False}),
        ("no-interaction", {"detector.interaction.enabled": False}),
        ("no-adaptation", {"detector.adaptation.enabled": False}),
        ("patch-64", {"detector.visual_prompt.patch_size": 64}),
        (
            "yolo-world-like",
            {
                "detector.adaptation.enabled": False,
                "detector.visual_prompt.enabled": False,
                "detector.interaction.enabled": False,
            },
        ),
    ],
)
def test_where_the_encoder_is_the_experts_nothing_else_changes(arm: str, changed: dict[str, Any]) -> None:
    assert differences(base("gpu"), ARMS[arm].change(base("gpu"))) == changed


def test_an_expert_with_an_encoder_of_its_own_goes_with_the_adaptation() -> None:
    config = ARMS["no-adaptation"].change(base("paper"))
    assert config.expert is None
    assert config.detector.image_encoder.name == "mobile_sam"


def test_the_baselines_cnn_learns_where_no_arm_takes_over_the_experts() -> None:
    config = ARMS["yolo-world-like"].change(base("paper"))
    assert (config.detector.image_encoder.name, config.detector.image_encoder.frozen) == (
        "efficientnet_lite2",
        False,
    )
    assert config.expert is None
    assert config.training.cached_samples is None


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_expert_alone_gets_as_many_steps_as_all_stages_of_rtvp(budget: BudgetName) -> None:
    full, alone = base(budget), ARMS["expert"].change(base(budget))
    assert full.expert is not None and alone.expert is not None
    stage = alone.expert.pretraining
    assert stage.steps == full.expert.pretraining.steps + full.training.steps
    assert (stage.batch_size, stage.sizes) == (full.training.batch_size, full.training.sizes)
    assert alone.expert.learns_encoder
    assert stage.cached_samples is None


def test_there_is_no_expert_to_measure_without_one() -> None:
    with pytest.raises(RtvpError, match="`train` has an `expert`"):
        expert_alone(base("cpu").model_copy(update={"expert": None}))


def test_the_patch_size_of_the_budgets_is_an_arm_that_is_not_trained_twice() -> None:
    for budget in BUDGETS:
        assert ARMS["patch-32"].change(base(budget)) == base(budget)


@pytest.mark.parametrize("arm", ["rtvp", "no-adaptation", "no-prompt", "no-interaction", "yolo-world-like"])
def test_the_detector_of_an_arm_lacks_the_part(arm: str) -> None:
    detector = build_detector(ARMS[arm].change(base("smoke")).detector)
    has_text = any(block.attention is not None for block in detector.neck.top_down)
    missing = {
        "no-adaptation": detector.decoder is None,
        "no-prompt": detector.refiner is None,
        "no-interaction": not has_text,
    }
    expected = {name: arm in (name, "yolo-world-like") for name in missing}
    assert missing == expected
