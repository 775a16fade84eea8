"""What a stage tells while it runs: a line on stderr, a row of a CSV file, points for TensorBoard."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tensorboardX import SummaryWriter
from torch import Tensor

from rtvp.files import replacing
from rtvp.losses.processes import mean_over_processes, rank, world_size
from rtvp.train.step import Losses

PHASES = ("data", "forward", "backward", "rest")  # with the update of the weights; logs and states


class Stopwatch:
    """Where the time of a step goes: `lap` adds the time since the last call to a phase.

    On a GPU it waits until what was asked for is done: otherwise all time would seem to be spent where a
    result is first read.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def restart(self) -> None:
        """All phases at zero."""
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What was done since the last call was ``phase``."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[phase] += now - self.last
        self.last = now


class StageLog:
    """Every so many steps: the mean of each term over steps and processes, speed, share of time, time left.

    Rows of later steps than the run starts at, left by one that was interrupted after its last saved state,
    are dropped: those steps are done again. The first process alone writes.

    Args:
        folder: of the run; ``NAME.csv`` goes there, and ``tensorboard/NAME`` with the same figures.
        name: of the stage.
        first: step that the run starts at.
        steps: of the whole stage.
        every: steps a row.
        watch: of the loop.
    """

    def __init__(self, folder: Path, name: str, first: int, steps: int, every: int, watch: Stopwatch) -> None:
        self.path, self.name = folder / f"{name}.csv", name
        self.first, self.steps, self.every = first, steps, every
        self.watch = watch
        self.terms: dict[str, list[Tensor]] = {}
        self.images = 0
        self.started = self.last = time.monotonic()
        self.rows = _read_rows(self.path, first)
        self.seconds_before = float(self.rows[-1]["seconds"]) if self.rows else 0.0
        self.points = self._points(folder / "tensorboard" / name) if rank() == 0 else None

    def update(self, step: int, terms: Losses, images: int) -> None:
        """Take in a step: its terms and the number of images that this process had."""
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value.detach())
        self.images += images
        if (step + 1) % self.every == 0 or step + 1 == self.steps:
            self._log(step + 1)

    def close(self) -> None:
        """End the file for TensorBoard."""
        if self.points is not None:
            self.points.close()

    def _points(self, folder: Path) -> SummaryWriter:
        # A name of its own: the writer's ends with the second, and a file that is there would be replaced.
        suffix = f".from{self.first}"
        return SummaryWriter(str(folder), purge_step=self.first + 1, filename_suffix=suffix)

    def _log(self, done: int) -> None:
        means = self._means()
        now = time.monotonic()
        spent, elapsed = now - self.last, now - self.started
        speed = self.images * world_size() / spent
        shares = {phase: round(seconds / spent, 3) for phase, seconds in self.watch.seconds.items()}
        self.terms, self.images, self.last = {}, 0, now
        self.watch.restart()
        if self.points is None:
            return
        left = elapsed / (done - self.first) * (self.steps - done)
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        line = f"{self.name} {done}/{self.steps} {text} {speed:.1f} images/s {left / 60:.0f} min left"
        print(line, file=sys.stderr, flush=True)
        figures = {"images_per_second": round(speed, 2), **shares, **means}
        seconds = round(self.seconds_before + elapsed, 1)
        self.rows.append({"step": done, "seconds": seconds, **figures})
        self._write()
        for name, value in figures.items():
            self.points.add_scalar(name, value, done)
        self.points.flush()

    def _means(self) -> dict[str, float]:
        # A process has its own share of each batch; the terms are the same everywhere.
        means = torch.stack([torch.stack(values).float().mean() for values in self.terms.values()])
        return dict(zip(self.terms, mean_over_processes(means).tolist(), strict=True))

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
