"""The training loop of one stage, on Lightning Fabric."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from rtvp.config import StageConfig
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.train.optim import MovingAverage, learning_rate_factor, make_optimizer
from rtvp.train.state import read_state, restore_state, save_state
from rtvp.train.step import ConvergenceMonitor, Losses
from rtvp.types import Batch

LOG_EVERY = 25  # steps

ComputeLosses = Callable[[nn.Module, Batch, int], Losses]


class Stage:
    """One stage of training: a module, the batches it sees, and where its state goes.

    Args:
        fabric: device and precision.
        module: returns weighted losses; its average is what comes out.
        batches: batch i of the run at index i.
        config: optimiser, schedule, length.
        folder: of the run; ``NAME.csv`` (log) and ``NAME.state.safetensors`` (to resume) go there.
        name: of the stage.
        checkpoint_every: steps between two states.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        batches: Dataset[Batch],
        config: StageConfig,
        folder: Path,
        name: str,
        checkpoint_every: int,
    ) -> None:
        self.fabric = fabric
        self.batches = batches
        self.config = config
        self.log_path = folder / f"{name}.csv"
        self.state_path = folder / f"{name}.state.safetensors"
        self.name = name
        self.checkpoint_every = checkpoint_every
        # On its device before the average is taken, so that both are on the same one.
        self.module = fabric.to_device(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = MovingAverage(self.module, config.ema_decay)
        self.monitor: ConvergenceMonitor | None = None

    def run(self, compute: ComputeLosses, on_converged: Callable[[], None] | None = None) -> None:
        """Train to the last step, from the last saved state if there is one.

        The module ends with its average. Where the saved state is the last step's, nothing else happens.

        Args:
            compute: (module, batch on the device, step) -> weighted losses.
            on_converged: called once, when the ``reconstruction`` loss no longer falls by the monitor's
                measure; called at once where that was before the saved state.

        Raises:
            RtvpError: the saved state is damaged or of another run, or training diverges.
        """
        raw = make_optimizer(self.module, self.config)
        first = self._resume(raw, on_converged)
        wrapped, optimizer = self.fabric.setup(self.module, raw)
        progress = _Progress(self.name, first, self.config, self.log_path)
        for step, batch in self._batches(first):
            self._set_learning_rate(raw, step)
            terms = compute(wrapped, batch, step)
            loss = torch.stack(list(terms.values())).sum()
            self.fabric.backward(loss)
            self._clip(wrapped, optimizer, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            self.average.update(self.module)
            progress.update(step, terms, len(batch.targets))
            self._watch(terms, on_converged)
            if (step + 1) % self.checkpoint_every == 0 or step + 1 == self.config.steps:
                self._save(raw, step + 1)
        self.module.load_state_dict(self.average.state(), strict=False)

    def _clip(self, module: Any, optimizer: Any, step: int) -> None:
        try:
            self.fabric.clip_gradients(module, optimizer, max_norm=self.config.clip_norm)
        except RuntimeError as error:
            if "non-finite" not in str(error):
                raise
            raise RtvpError(
                f"{self.name}: the gradients of step {step + 1} are not finite, training has diverged: lower "
                f"learning_rate or clip_norm and start again from {self.state_path}, if it is there"
            ) from error

    def _watch(self, terms: Losses, on_converged: Callable[[], None] | None) -> None:
        if self.monitor is None or on_converged is None or "reconstruction" not in terms:
            return
        if self.monitor.update(float(terms["reconstruction"].detach())):
            on_converged()
            self.monitor = None

    def _batches(self, first: int) -> Iterator[tuple[int, Batch]]:
        rest = Subset(self.batches, range(first, self.config.steps))
        # One worker beside the computing process: decoding and warping overlap with the step.
        loader = DataLoader(rest, batch_size=None, shuffle=False, num_workers=1, prefetch_factor=4)
        for step, batch in enumerate(loader, start=first):
            yield step, self.fabric.to_device(batch)

    def _set_learning_rate(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        factor = learning_rate_factor(step, self.config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor

    def _save(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        notes: dict[str, Any] = {"step": step, "stopped": self.monitor is None}
        if self.monitor is not None:
            notes["monitor"] = self.monitor.state()
        save_state(self.state_path, self.module, self.average, optimizer, notes)

    def _resume(self, optimizer: torch.optim.Optimizer, on_converged: Callable[[], None] | None) -> int:
        if not self.state_path.exists():
            return 0
        tensors, notes = read_state(self.state_path)
        try:
            if self.monitor is not None and notes["stopped"]:
                self.monitor = None
                if on_converged is not None:
                    on_converged()
            if self.monitor is not None:
                self.monitor.restore(notes["monitor"])
            restore_state(tensors, notes, self.module, self.average, optimizer)
            return int(notes["step"])
        except (RuntimeError, LookupError, ValueError) as error:
            raise RtvpError(
                f"{self.state_path} is the state of another run: remove it to start this stage afresh"
            ) from error


class _Progress:
    """A line on stderr and in a CSV file every so often: mean of each term, speed, time left.

    ``first`` is the step that the run starts at. Rows of later steps, left by a run that was interrupted
    after its last saved state, are dropped: those steps are done again.
    """

    def __init__(self, name: str, first: int, config: StageConfig, path: Path) -> None:
        self.name, self.first, self.config, self.path = name, first, config, path
        self.values: dict[str, list[float]] = {}
        self.images = 0
        self.started = self.last = time.monotonic()
        self.rows = _read_rows(path, first)
        self.seconds_before = float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def update(self, step: int, terms: Losses, images: int) -> None:
        for name, value in terms.items():
            self.values.setdefault(name, []).append(float(value.detach()))
        self.images += images
        if (step + 1) % LOG_EVERY and step + 1 != self.config.steps:
            return
        now = time.monotonic()
        elapsed, speed = now - self.started, self.images / (now - self.last)
        minutes_left = elapsed / (step + 1 - self.first) * (self.config.steps - step - 1) / 60
        means = {name: fmean(values) for name, values in self.values.items()}
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        done = f"{self.name} {step + 1}/{self.config.steps}"
        print(f"{done} {text} {speed:.1f} images/s {minutes_left:.0f} min left", file=sys.stderr, flush=True)
        seconds = round(self.seconds_before + elapsed, 1)
        self.rows.append(
            {"step": step + 1, "seconds": seconds, "images_per_second": round(speed, 2), **means}
        )
        self._write()
        self.values, self.images, self.last = {}, 0, now

    def _write(self) -> None:
        # A term may end before the run does (the expert's), so the columns are those of all rows.
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def _read_rows(path: Path, last: int) -> list[dict[str, Any]]:
    """The rows of a log up to step ``last``."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) <= last]
