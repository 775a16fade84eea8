from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rtvp.config import StageConfig
from rtvp.errors import RtvpError
from rtvp.train.optim import MovingAverage, make_optimizer
from rtvp.train.state import read_state, restore_state, save_state

STAGE = StageConfig(steps=4)
NOTES = {"step": 3, "stopped": False, "monitor": [float("nan"), 0.1, 2.0]}


class Run:
    """A small network with a part that two others share, its average and its optimiser."""

    def __init__(self, seed: int, width: int = 4) -> None:
        torch.manual_seed(seed)
        shared = nn.Linear(width, width)
        self.module = nn.ModuleDict({"a": shared, "b": shared, "norm": nn.BatchNorm1d(width)})
        self.average = MovingAverage(self.module, 0.9)
        self.optimizer = make_optimizer(self.module, STAGE)
        self.width = width

    def step(self, seed: int) -> None:
        inputs = torch.randn(8, self.width, generator=torch.Generator().manual_seed(seed))
        self.module["norm"](self.module["b"](self.module["a"](inputs))).square().sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(self.module)

    def everything(self) -> dict[str, Tensor]:
        moments = self.optimizer.state_dict()["state"]
        return {
            **{f"m.{k}": v.clone() for k, v in self.module.state_dict().items()},
            **{f"a.{k}": v.clone() for k, v in self.average.state().items()},
            **{f"o.{i}.{k}": v.clone() for i, each in moments.items() for k, v in each.items()},
        }

    def save(self, path: Path, **notes: Any) -> None:
        save_state(path, self.module, self.average, self.optimizer, {**NOTES, **notes})

    def restore(self, path: Path) -> dict[str, Any]:
        tensors, notes = read_state(path)
        restore_state(tensors, notes, self.module, self.average, self.optimizer)
        return notes


def assert_same(first: Run, second: Run) -> None:
    a, b = first.everything(), second.everything()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_restored_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    path = tmp_path / "run.state.safetensors"
    run, other = Run(0), Run(1)
    for seed in range(3):
        run.step(seed)
    run.save(path)
    notes = other.restore(path)
    assert notes["step"] == 3 and notes["stopped"] is False
    assert notes["monitor"][0] != notes["monitor"][0], "no number before the first window"
    assert_same(run, other)
    for seed in range(3, 6):
        run.step(seed)
        other.step(seed)
    assert_same(run, other)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_shared_modules_stay_shared(tmp_path: Path) -> None:
    run, other = Run(0), Run(1)
    run.save(tmp_path / "state")
    other.restore(tmp_path / "state")
    assert other.module["a"].weight is other.module["b"].weight


def test_an_interrupted_save_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    run = Run(0)
    run.step(0)
    run.save(path)
    before = path.read_bytes()

    def cut_short(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr("rtvp.train.state.save_file", cut_short)
    run.step(1)
    with pytest.raises(KeyboardInterrupt):
        run.save(path, step=4)
    assert path.read_bytes() == before
    monkeypatch.undo()
    run.save(path, step=4)
    assert Run(2).restore(path)["step"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("spoil", ["truncated", "random", "empty", "other file", "folder", "missing"])
def test_what_is_no_state_is_named(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "state.safetensors"
    Run(0).save(path)
    content = path.read_bytes()
    if spoil == "other file":
        save_file({"x": torch.zeros(1)}, path)
    elif spoil in ("folder", "missing"):
        path.unlink()
        if spoil == "folder":
            path.mkdir()
    else:
        path.write_bytes({"truncated": content[:-9], "random": b"\x93" * 400, "empty": b""}[spoil])
    with pytest.raises(RtvpError, match="not a training state of rtvp") as caught:
        read_state(path)
    assert str(path) in str(caught.value) and "remove it" in str(caught.value)
