"""Trains the arms, each once however many tables show it, and measures them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from rtvp.config import AdaptationConfig, InteractionConfig, MaskingConfig, TrainConfig, VisualPromptConfig
from rtvp.errors import RtvpError
from rtvp.evaluate.evaluation import evaluate
from rtvp.files import replacing
from rtvp.measure import ClosedNamed, KeptDetections, NamedDetector, RtvpNamed
from rtvp.models.build import load_detector
from rtvp.models.text_encoder import make_text_encoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Detector, load
from rtvp.reproduce.arms import ARMS
from rtvp.reproduce.budget import Budget, BudgetName
from rtvp.reproduce.results import RunResult, read_json, write_json, write_result
from rtvp.reproduce.tasks import Places, Side, Task
from rtvp.terminal import make_progress
from rtvp.train.data import RunData
from rtvp.train.expert_file import load_expert
from rtvp.train.record import RECORD_FILE
from rtvp.train.run import train, train_expert

RUNS_FOLDER, FEATURES_FOLDER = "runs", "features"
FINISHED_FILE = "finished.json"  # of a run, written last
EXPERT_FILES = ("expert.csv", "expert.state.safetensors")  # log and state of a run's first stage
KEY_LENGTH = 16  # hexadecimal digits of the digest that names a run's folder


@dataclass(frozen=True, slots=True)
class Trained:
    """An arm that has learnt.

    Attributes:
        key: digest of configuration and data.
        folder: of the run.
        checkpoint: a detector, or an expert where ``closed_set``.
        closed_set: whether it knows a fixed list of names.
        config: of the run.
        data: of the run.
    """

    key: str
    folder: Path
    checkpoint: Path
    closed_set: bool
    config: TrainConfig
    data: RunData

    def detector(self) -> NamedDetector:
        """It, ready to be measured."""
        device = _device(self.config.accelerator)
        if self.closed_set:
            expert, classes, size = load_expert(self.checkpoint)
            return ClosedNamed(expert.to(device), classes, size, device)
        detector, found, _ = load_detector(self.checkpoint)
        encoder = make_text_encoder(found.text_encoder)
        return RtvpNamed(TorchNetwork(detector, device), encoder, found.input_size)

    def predictor(self) -> Detector:
        """A detector, not an expert, as the figures look into it."""
        return load(self.checkpoint, _device(self.config.accelerator))

    def parameters(self) -> float:
        """Weights of its network in millions, the text encoder's not among them."""
        network = load_expert(self.checkpoint)[0] if self.closed_set else load_detector(self.checkpoint)[0]
        return sum(parameter.numel() for parameter in network.parameters()) / 1e6


class Runner:
    """Trains and measures arms. What was done before, or begun, is not done again.

    Args:
        budget: how much work goes into an arm.
        name: of the budget.
        places: where the data lies.
        out: folder of the runs.
        results: folder of the results.
        seeds: runs of each arm, with seeds from 0; the budget's number if None.

    Raises:
        RtvpError: the budget needs a CUDA device, and there is none.
    """

    def __init__(
        self,
        budget: Budget,
        name: BudgetName,
        places: Places,
        out: Path,
        results: Path,
        seeds: int | None = None,
    ) -> None:
        self.budget, self.name, self.places = budget, name, places
        self.out, self.results = out, results
        self.device = _device(budget.train.accelerator)
        self.seeds = range(budget.seeds if seeds is None else seeds)
        self._training = lru_cache(maxsize=2)(self._read_training)  # the arms of one task follow each other
        self._test = lru_cache(maxsize=1)(self._read_test)

    def run(
        self, item: str, task: Task, arms: Sequence[str], seeds: Sequence[int] | None = None
    ) -> list[RunResult]:
        """Train and measure every arm with every seed; each result is written as soon as it is there."""
        seeds = self.seeds if seeds is None else seeds
        return [self._one(item, task, arm, seed) for seed in seeds for arm in arms]

    def run_peer(self, item: str, task: Task, peer: NamedDetector) -> RunResult:
        """Measure a detector that is not ours, as it comes."""
        evaluation = self._measured(self.out / RUNS_FOLDER / _digest("peer", peer.name), task, peer)
        figures, images = _headline(evaluation), evaluation["images"]
        return self.write(
            item, task, f"peer:{peer.name}", peer.name, 0, figures, images, evaluation=evaluation
        )

    def trained(self, task: Task, arm: str, seed: int) -> Trained:
        """Train an arm, unless that is done."""
        base, data = self._training(task, seed)
        config, closed_set = ARMS[arm].change(base), ARMS[arm].closed_set
        key = run_key(config, data, closed_set)
        folder = self.out / RUNS_FOLDER / key
        print(f"{task.name}, {ARMS[arm].title}, seed {seed}: {folder}", file=sys.stderr)
        done = folder / FINISHED_FILE
        if not done.is_file():
            if not closed_set:
                self._share_expert(config, data, folder)
            work = train_expert if closed_set else train
            checkpoint = work(config, data, folder, self.out / FEATURES_FOLDER)
            write_json(done, {"checkpoint": checkpoint.name})
        return Trained(key, folder, folder / read_json(done)["checkpoint"], closed_set, config, data)

    def _share_expert(self, config: TrainConfig, data: RunData, folder: Path) -> None:
        """Pre-train the expert once for all arms that have it; the run in ``folder`` goes on from there."""
        if config.expert is None:
            return
        own = _expert_stage(config)
        source = self.out / RUNS_FOLDER / run_key(own, data, True)
        if not (source / FINISHED_FILE).is_file():
            checkpoint = train_expert(own, data, source, self.out / FEATURES_FOLDER)
            write_json(source / FINISHED_FILE, {"checkpoint": checkpoint.name})
        for name in EXPERT_FILES:
            if not (folder / name).exists():
                with replacing(folder / name) as temporary:
                    shutil.copyfile(source / name, temporary)

    def write(
        self,
        item: str,
        task: Task,
        arm: str,
        title: str,
        seed: int,
        figures: Mapping[str, float | None],
        images: int,
        trained: Trained | None = None,
        evaluation: dict[str, Any] | None = None,
    ) -> RunResult:
        """Keep what was measured as a result of ``item``; without ``trained``, of a detector not ours."""
        result = RunResult(
            item=item,
            budget=self.name,
            task=task.name,
            arm=arm,
            title=title,
            seed=seed,
            run=trained.key if trained else "",
            data_digest=trained.data.digest if trained else "",
            config=trained.config.model_dump(mode="json") if trained else None,
            images=images,
            figures=dict(figures),
            evaluation=evaluation or {},
            curve=_curve(trained) if trained else [],
            record=read_json(trained.folder / RECORD_FILE) if trained else {},
        )
        write_result(self.results, result)
        return result

    def _one(self, item: str, task: Task, arm: str, seed: int) -> RunResult:
        trained = self.trained(task, arm, seed)
        evaluation = self._measured(trained.folder, task, trained.detector())
        figures = _headline(evaluation) | {"parameters": trained.parameters()}
        title, images = ARMS[arm].title, evaluation["images"]
        return self.write(item, task, arm, title, seed, figures, images, trained, evaluation)

    def _measured(self, folder: Path, task: Task, detector: NamedDetector) -> dict[str, Any]:
        """The evaluation on the test side of ``task``, kept in ``folder``; interrupted, it goes on."""
        test = self._test(task)
        asked = _digest(task.name, test.digest, test.images, self.budget.bootstrap)
        path = folder / f"measured-{asked}.json"
        if path.is_file():
            print(f"{task.name}, {detector.name}: measured before, {path}", file=sys.stderr)
            return dict(read_json(path))
        found = folder / f"found-{asked}.jsonl"
        with (
            make_progress() as progress,
            KeptDetections(detector, found, {"detector": detector.name}) as kept,
        ):
            bar = progress.add_task(f"{task.name}: {detector.name}", total=test.images)
            outcomes = test.measure(kept, lambda: progress.advance(bar))
        evaluation = evaluate(
            outcomes,
            frequencies=test.frequencies,
            limits=test.limits,
            bootstrap=self.budget.bootstrap,
        ).to_json()
        write_json(path, evaluation)
        found.unlink()
        return evaluation

    def _read_training(self, task: Task, seed: int) -> tuple[TrainConfig, RunData]:
        config = task.configure(self.budget.train.model_copy(update={"seed": seed}))
        data = task.read_training(config, self.places)
        return self.budget.for_images(config, sum(len(labelled.images) for labelled in data.train)), data

    def _read_test(self, task: Task) -> Side:
        return task.read_test(self.places, self.budget.test_images)


def _headline(evaluation: dict[str, Any]) -> dict[str, float | None]:
    """The figures of the tables: those over everything, and Table 2a's precision and recall."""
    best = evaluation["best_f1"]
    return {**evaluation["figures"], "precision": best["precision"], "recall": best["recall"]}


def run_key(config: TrainConfig, data: RunData, closed_set: bool) -> str:
    """Digest that names a run: equal configurations on equal data are one run."""
    # Without defaults: a setting that is added later, and changes nothing, leaves runs where they are.
    return _digest(config.model_dump(mode="json", exclude_defaults=True), data.digest, closed_set)


def _expert_stage(config: TrainConfig) -> TrainConfig:
    """The configuration without all that the expert's pre-training does not depend on."""
    assert config.expert is not None
    parts = {
        "adaptation": AdaptationConfig(),
        "visual_prompt": VisualPromptConfig(),
        "interaction": InteractionConfig(heads=config.detector.interaction.heads),
    }
    detector = config.detector.model_copy(update=parts)
    # Which blocks of a shared encoder learn is said of the training, and holds before it as well.
    training = config.expert.pretraining.model_copy(update={"thaw_beyond": config.training.thaw_beyond})
    changes = {"detector": detector, "training": training, "masking": MaskingConfig()}
    return config.model_copy(update=changes)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def _device(accelerator: str) -> str:
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise RtvpError(
            "expected a CUDA device, which this budget trains on, found none: choose --budget cpu"
        )
    return accelerator


def _curve(trained: Trained) -> list[dict[str, float]]:
    """The rows of the log of the run's last stage; a term that was not computed is left out of its row."""
    path = trained.folder / ("expert.csv" if trained.closed_set else "rtvp.csv")
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
