"""The loop of one stage: a run that was interrupted must end as one that was not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Dataset

from rtvp.config import StageConfig
from rtvp.data.training_sample import Sample
from rtvp.errors import RtvpError
from rtvp.train.loop import Stage
from rtvp.train.optim import MovingAverage, learning_rate_factor
from rtvp.train.step import ConvergenceMonitor, Losses
from rtvp.types import Batch, Target

STEPS = 10
CONFIG = StageConfig(
    steps=STEPS, batch_size=2, warmup_steps=2, learning_rate=0.05, encoder_learning_rate=0.01, ema_decay=0.8
)


class Pictures(Dataset[list[Sample]]):
    """The two samples of step i are a function of i."""

    def __getitem__(self, index: int) -> list[Sample]:
        pixels = np.random.default_rng(index).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
        return [Sample(image, np.zeros((0, 4), np.float32), (), None) for image in pixels]


class Plain:
    """Collates to images alone."""

    def needed(self, samples: Sequence[Sample]) -> frozenset[str]:
        return frozenset()

    def __call__(self, step: int, samples: Sequence[Sample], needed: frozenset[str]) -> Batch:
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        target = Target(torch.zeros(0, 4), torch.zeros(0, 0, dtype=torch.bool))
        annotated = torch.zeros(len(samples), 0, dtype=torch.bool)
        return Batch(images.contiguous(), (target,) * len(samples), (), annotated, ())


def batch_of(step: int) -> Batch:
    return Plain()(step, Pictures()[step], frozenset())


class Network(nn.Module):
    """Learns to give every picture the output 1; a helper part may be dropped, as the expert is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.image_encoder = nn.Conv2d(3, 4, 3, bias=False)  # a bias would do nothing before the norm
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Linear(4, 1)
        self.helper: nn.Linear | None = nn.Linear(4, 1)

    def forward(self, images: Tensor) -> Losses:
        pooled = self.norm(self.image_encoder(images / 255)).relu().mean(dim=(2, 3))
        terms = {"box": (self.out(pooled) - 1).square().mean()}
        if self.helper is not None:
            terms["reconstruction"] = (self.helper(pooled) - 2).square().mean()
        return terms

    def drop_helper(self) -> None:
        self.helper = None


class InterruptedRunError(Exception):
    pass


RunStage = Callable[..., Network]


@pytest.fixture
def run_stage(tmp_path: Path) -> RunStage:
    """Runs a stage of ten steps in a folder, saving every four.

    ``stop_at``: raises at that step; ``drop_at``: the helper goes at that step; ``diverge_at``: its losses
    are infinite.
    """

    def run(
        folder: str,
        seed: int = 0,
        stop_at: int | None = None,
        drop_at: int | None = None,
        diverge_at: int | None = None,
        monitor: bool = False,
        log_every: int = 2,
    ) -> Network:
        (tmp_path / folder).mkdir(exist_ok=True)
        network = Network(seed)
        stage = Stage(
            Fabric(accelerator="cpu", devices=1),
            network,
            Pictures(),
            Plain(),
            CONFIG,
            tmp_path / folder,
            "small",
            checkpoint_every=4,
            log_every=log_every,
        )
        if monitor:
            stage.monitor = ConvergenceMonitor(window=1, threshold=0.5)

        def compute(module: nn.Module, batch: Batch, step: int) -> Losses:
            if step == stop_at:
                raise InterruptedRunError
            if step == drop_at:
                network.drop_helper()
            terms: Losses = module(batch.images.float())
            return {name: value / 0 if step == diverge_at else value for name, value in terms.items()}

        stage.run(compute, on_converged=network.drop_helper)
        return network

    return run


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "small.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=0, rtol=0, msg=name)


def test_steps_are_those_of_plain_training(run_stage: RunStage) -> None:
    """The same arithmetic without Fabric, loader and state: schedule, clipping, decay, average."""
    trained = run_stage("plain")
    network = Network(0)
    average = MovingAverage(network, CONFIG.ema_decay)
    named = dict(network.named_parameters())
    optimizer = torch.optim.AdamW(
        {
            "params": [parameter],
            "lr": 0.01 if "image_encoder" in name else 0.05,
            "weight_decay": CONFIG.weight_decay if parameter.ndim > 1 else 0,
        }
        for name, parameter in named.items()
    )
    base = [group["lr"] for group in optimizer.param_groups]
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * learning_rate_factor(step, CONFIG)
        optimizer.zero_grad()
        torch.stack(list(network(batch_of(step).images.float()).values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), CONFIG.clip_norm)
        optimizer.step()
        average.update(network)
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, average.state()[name], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("stop_at", [2, 4, 7, 9])
def test_an_interrupted_stage_ends_as_an_unbroken_one(
    run_stage: RunStage, tmp_path: Path, stop_at: int
) -> None:
    whole = run_stage("whole")
    with pytest.raises(InterruptedRunError):
        run_stage("broken", stop_at=stop_at)
    assert (tmp_path / "broken" / "small.state.safetensors").exists() == (stop_at >= 4)
    resumed = run_stage("broken", seed=0 if stop_at < 4 else 1)
    assert_same_weights(resumed, whole)
    logs = [log_of(tmp_path / folder) for folder in ("broken", "whole")]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]] == ["2", "4", "6", "8", "10"]
    assert float(logs[0][-1]["box"]) == pytest.approx(float(logs[1][-1]["box"]), abs=1e-6)
    seconds = [float(row["seconds"]) for row in logs[0]]
    assert seconds == sorted(seconds), "time goes on where it was left"


def test_a_finished_stage_is_passed_through(run_stage: RunStage, tmp_path: Path) -> None:
    first = run_stage("done")
    state = (tmp_path / "done" / "small.state.safetensors").read_bytes()
    log = log_of(tmp_path / "done")
    again = run_stage("done", seed=3, stop_at=STEPS - 1)  # would raise if any step were done
    assert_same_weights(again, first)
    assert (tmp_path / "done" / "small.state.safetensors").read_bytes() == state
    assert log_of(tmp_path / "done") == log


def test_convergence_is_remembered(run_stage: RunStage, tmp_path: Path) -> None:
    """The helper goes at step 2 (a change below one half); resumed after that, it is not there at all."""
    whole = run_stage("whole", monitor=True)
    assert whole.helper is None
    with pytest.raises(InterruptedRunError):
        run_stage("broken", monitor=True, stop_at=6)
    resumed = run_stage("broken", seed=1, monitor=True)
    assert resumed.helper is None
    assert_same_weights(resumed, whole)
    rows = log_of(tmp_path / "broken")
    assert [row["step"] for row in rows] == ["2", "4", "6", "8", "10"]
    assert rows[0]["reconstruction"] != "" and rows[-1]["reconstruction"] == ""
    assert all(float(row["box"]) > 0 for row in rows), "columns stay where they are"


def test_means_are_over_the_steps_that_had_the_term(run_stage: RunStage, tmp_path: Path) -> None:
    run_stage("pairs", drop_at=3)
    run_stage("single", drop_at=3, log_every=1)
    pairs, single = log_of(tmp_path / "pairs"), log_of(tmp_path / "single")
    assert [row["reconstruction"] != "" for row in single] == [True] * 3 + [False] * 7
    assert float(pairs[0]["box"]) == pytest.approx((float(single[0]["box"]) + float(single[1]["box"])) / 2)
    assert float(pairs[1]["reconstruction"]) == pytest.approx(float(single[2]["reconstruction"]))


def test_divergence_is_named(run_stage: RunStage) -> None:
    with pytest.raises(RtvpError, match="small: the gradients of step 6 are not finite") as caught:
        run_stage("diverging", diverge_at=5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no state"])
def test_a_damaged_state_is_named(run_stage: RunStage, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged").mkdir()
    path = tmp_path / "damaged" / "small.state.safetensors"
    path.write_bytes(content)
    with pytest.raises(RtvpError, match="not a training state") as caught:
        run_stage("damaged")
    assert str(path) in str(caught.value)


def test_the_state_of_another_network_is_named(
    run_stage: RunStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage("other")
    monkeypatch.setattr(Network, "__init__", wider_init)
    with pytest.raises(RtvpError, match="state of another run") as caught:
        run_stage("other")
    assert "small.state.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def wider_init(self: Network, seed: int) -> None:
    nn.Module.__init__(self)
    self.image_encoder, self.norm = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
    self.out, self.helper = nn.Linear(6, 1), None


def test_processes_share_a_batch_evenly(tmp_path: Path) -> None:
    three = SimpleNamespace(world_size=3)
    with pytest.raises(
        RtvpError, match="small: expected a batch_size that 3 processes can share evenly, got 2"
    ):
        Stage(three, Network(0), Pictures(), Plain(), CONFIG, tmp_path, "small", 4)


def test_learning_pays(run_stage: RunStage, tmp_path: Path) -> None:
    run_stage("run")
    rows = log_of(tmp_path / "run")
    assert float(rows[-1]["box"]) < 0.5 * float(rows[0]["box"])
    shares = ["data", "forward", "backward", "rest"]
    assert list(rows[0]) == ["step", "seconds", "images_per_second", *shares, "box", "reconstruction"]


@pytest.fixture(autouse=True)
def _quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()
