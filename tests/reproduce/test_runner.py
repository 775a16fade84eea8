"""Arms are trained once, go on where they stopped, and leave results behind."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from run_results import RECORD

from rtvp.config import DetectorConfig, TrainConfig
from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.evaluate.outcome import Outcome
from rtvp.measure import NamedDetector
from rtvp.models.build import build_detector, save_detector
from rtvp.models.image_encoder import IMAGE_ENCODERS
from rtvp.reproduce import runner as runner_module
from rtvp.reproduce.budget import Budget, load_budget
from rtvp.reproduce.results import read_results, write_json
from rtvp.reproduce.runner import Runner
from rtvp.reproduce.tasks import OnImage, Places, Side, Task
from rtvp.train.data import RunData
from rtvp.train.expert_file import build_expert, save_expert
from rtvp.types import Detections, Prompt

BOX = (0.0, 0.0, 10.0, 10.0)


class Trainer:
    """Stands for the training: writes what it leaves behind, and notes what it was called with."""

    def __init__(self) -> None:
        self.trained: list[TrainConfig] = []
        self.experts: list[TrainConfig] = []
        self.states: list[str] = []

    def train(self, config: TrainConfig, data: RunData, out: Path, features: Path) -> Path:
        self.trained.append(config)
        self.states.append((out / "expert.state.safetensors").read_text() if config.expert else "")
        self._log(out, "rtvp", config)
        save_detector(out / "detector.safetensors", build_detector(config.detector), config.detector)
        return out / "detector.safetensors"

    def train_expert(self, config: TrainConfig, data: RunData, out: Path, features: Path) -> Path:
        assert config.expert is not None
        self.experts.append(config)
        self._log(out, "expert", config)
        (out / "expert.state.safetensors").write_text(f"expert {len(self.experts)}")
        encoder = config.expert.image_encoder
        expert = build_expert(IMAGE_ENCODERS[encoder](), 2, config.detector)
        save_expert(out / "expert.safetensors", expert, ("dent", "defect"), encoder, config.detector)
        return out / "expert.safetensors"

    def _log(self, out: Path, name: str, config: TrainConfig) -> None:
        write_json(out / "run.json", RECORD | {"seed": config.seed})
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["step", "box", "expert"], [1, 0.5, ""]])


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    one = Trainer()
    monkeypatch.setattr(runner_module, "train", one.train)
    monkeypatch.setattr(runner_module, "train_expert", one.train_expert)
    return one


@pytest.fixture
def budget() -> Budget:
    small = DetectorConfig(channels=16, input_size=64)
    budget = load_budget("smoke")
    return budget.model_copy(update={"train": budget.train.model_copy(update={"detector": small})})


class Bench:
    """A task of one image; ``measured`` lists who was measured."""

    def __init__(self, digest: str = "data") -> None:
        self.measured: list[str] = []
        self.digest = digest
        self.task = Task("closed", "dent", lambda config: config, self._training, self._test)

    def _training(self, config: TrainConfig, places: Places) -> RunData:
        labelled = LabelledSet("parts", "parts", "", (), frozenset({"dent"}))
        return RunData((labelled,), (), (), frozenset(), f"{self.digest} {config.seed}")

    def _test(self, places: Places, at_most: int | None) -> Side:
        def measure(detector: NamedDetector, on_image: OnImage) -> list[Outcome]:
            self.measured.append(detector.name)
            on_image()
            found = (("dent", 0.9, BOX),)
            return [Outcome("a", "parts", "parts", "", 20, 20, (("dent", BOX),), found, frozenset({"dent"}))]

        return Side(self.digest, 1, measure)


def make_runner(budget: Budget, folder: Path, seeds: int | None = None) -> Runner:
    return Runner(budget, "smoke", Places(), folder / "out", folder / "results", seeds)


def titles(configs: Sequence[TrainConfig]) -> list[tuple[bool, bool, int]]:
    return [(c.detector.adaptation.enabled, c.detector.visual_prompt.enabled, c.seed) for c in configs]


def test_an_arm_that_two_tables_share_is_trained_and_measured_once(
    trainer: Trainer, budget: Budget, tmp_path: Path
) -> None:
    bench = Bench()
    make_runner(budget, tmp_path).run("table5", bench.task, ("no-prompt", "rtvp"))
    # Another process, another table; patches of 32 px are what the budget has.
    results = make_runner(budget, tmp_path).run("table6", bench.task, ("patch-32", "patch-64"))
    assert len(trainer.trained) == 3 and len(bench.measured) == 3
    shown = {(run.item, run.arm): run for run in read_results(tmp_path / "results")}
    assert shown["table5", "rtvp"].run == shown["table6", "patch-32"].run != shown["table6", "patch-64"].run
    assert [run.figures["AP"] for run in results] == [1.0, 1.0]


def test_arms_share_the_pre_training_of_their_expert(
    trainer: Trainer, budget: Budget, tmp_path: Path
) -> None:
    make_runner(budget, tmp_path).run(
        "table5", Bench().task, ("no-adaptation", "no-prompt", "no-interaction", "rtvp")
    )
    assert len(trainer.experts) == 1
    # Without adaptation nothing of this budget's expert is left: its encoder does not learn.
    assert trainer.states == ["", "expert 1", "expert 1", "expert 1"]


def test_every_seed_has_a_run_with_an_expert_of_its_own(
    trainer: Trainer, budget: Budget, tmp_path: Path
) -> None:
    results = make_runner(budget, tmp_path, seeds=2).run("table5", Bench().task, ("no-prompt", "rtvp"))
    assert [(run.arm, run.seed) for run in results] == [
        ("no-prompt", 0),
        ("rtvp", 0),
        ("no-prompt", 1),
        ("rtvp", 1),
    ]
    assert titles(trainer.trained) == [(True, False, 0), (True, True, 0), (True, False, 1), (True, True, 1)]
    assert [config.seed for config in trainer.experts] == [0, 1]
    assert [run.record["seed"] for run in results] == [0, 0, 1, 1]


def test_other_data_is_another_run(trainer: Trainer, budget: Budget, tmp_path: Path) -> None:
    for digest in ("one", "two"):
        make_runner(budget, tmp_path).run("table5", Bench(digest).task, ("rtvp",))
    assert len(trainer.trained) == 2


def test_a_run_that_was_killed_is_trained_on(
    trainer: Trainer, budget: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(config: TrainConfig, data: RunData, out: Path, features: Path) -> Path:
        (out / "rtvp.state.safetensors").write_text("half way")
        raise KeyboardInterrupt

    bench, runner = Bench(), make_runner(budget, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            runner.run("table5", bench.task, ("rtvp",))
    assert not read_results(tmp_path / "results")
    (result,) = make_runner(budget, tmp_path).run("table5", bench.task, ("rtvp",))
    assert (tmp_path / "out" / "runs" / result.run / "rtvp.state.safetensors").read_text() == "half way"
    assert len(trainer.trained) == len(trainer.experts) == 1


def test_a_result_holds_what_it_takes_to_judge_it(trainer: Trainer, budget: Budget, tmp_path: Path) -> None:
    (result,) = make_runner(budget, tmp_path).run("table2a", Bench().task, ("rtvp",))
    assert result.config == budget.train.model_dump(mode="json")
    assert result.data_digest == "data 0"
    assert result.curve == [{"step": 1.0, "box": 0.5}]
    assert result.images == 1
    assert {"AP", "AP50", "AP75", "APs", "precision", "recall", "parameters"} <= set(result.figures)
    assert result.figures["precision"] == result.figures["recall"] == 1.0
    assert 2 < (result.figures["parameters"] or 0) < 4
    assert result.evaluation["categories"]["dent"]["AP"] == pytest.approx(1.0)


def test_the_expert_alone_is_measured_by_its_own_head(
    trainer: Trainer, budget: Budget, tmp_path: Path
) -> None:
    bench = Bench()
    (result,) = make_runner(budget, tmp_path).run("table2a", bench.task, ("expert",))
    assert bench.measured == ["expert"] and not trainer.trained
    assert [config.expert.pretraining.steps for config in trainer.experts if config.expert] == [120]
    assert result.curve == [{"step": 1.0, "box": 0.5}]


def test_a_peer_is_measured_as_it_comes(trainer: Trainer, budget: Budget, tmp_path: Path) -> None:
    class Peer:
        name = "some/peer"

    bench, runner = Bench(), make_runner(budget, tmp_path)
    for _ in range(2):
        result = runner.run_peer("table2b", bench.task, Peer())  # type: ignore[arg-type]
    assert (result.arm, result.config, result.figures["AP"]) == ("peer:some/peer", None, 1.0)
    assert len(bench.measured) == 1 and not trainer.trained


def test_a_measurement_that_was_interrupted_goes_on(budget: Budget, tmp_path: Path) -> None:
    class Peer:
        name = "some/peer"

        def __init__(self) -> None:
            self.asked: list[int] = []

        def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
            if len(self.asked) == 1:
                self.asked.append(-1)
                raise KeyboardInterrupt
            self.asked.append(int(images[0][0, 0, 0]))
            return [Detections(np.array([BOX], np.float32), np.array([0.9], np.float32), np.array([0]))]

    def measure(detector: NamedDetector, on_image: OnImage) -> list[Outcome]:
        bench = Bench().task.read_test(Places(), None).measure(detector, on_image)
        for value in (10, 20):
            detector.detect([np.full((2, 2, 3), value, np.uint8)], (Prompt("dent"),))
        return bench

    task = replace(Bench().task, read_test=lambda places, at_most: Side("data", 1, measure))
    peer, runner = Peer(), make_runner(budget, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        runner.run_peer("table2b", task, peer)
    assert runner.run_peer("table2b", task, peer).figures["AP"] == 1.0
    assert peer.asked == [10, -1, 20]
    left = [path.name for path in (tmp_path / "out" / "runs").rglob("*") if path.is_file()]
    assert len(left) == 1 and left[0].startswith("measured-")


def test_a_budget_for_cuda_needs_it(budget: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    cuda = budget.model_copy(update={"train": budget.train.model_copy(update={"accelerator": "cuda"})})
    with pytest.raises(RtvpError, match="expected a CUDA device"):
        make_runner(cuda, tmp_path)
