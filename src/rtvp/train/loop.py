"""The training loop of one stage, on Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from rtvp.config import StageConfig
from rtvp.data.dataset import Collator, Sample
from rtvp.errors import RtvpError
from rtvp.losses.processes import mean_over_processes
from rtvp.mmio.workers import follow_parent
from rtvp.train.distributed import synchronise_norms, union_over_processes
from rtvp.train.logs import StageLog, Stopwatch
from rtvp.train.optim import MovingAverage, learning_rate_factor, make_optimizer
from rtvp.train.state import read_state, restore_state, save_state
from rtvp.train.step import ConvergenceMonitor, Losses
from rtvp.types import Batch

MAX_WORKERS = 8

ComputeLosses = Callable[[nn.Module, Batch, int], Losses]


class Stage:
    """One stage of training: a module, the batches it sees, and where its state goes.

    In several processes each has its share of every batch, and all end with the weights that one process
    would have reached. They see the same folder, to which the first alone writes.

    Args:
        fabric: device, precision, processes.
        module: returns weighted losses; its average is what comes out.
        samples: this process's samples of step i at index i.
        collate: makes a batch of them.
        config: optimiser, schedule, length.
        folder: of the run; ``NAME.csv`` (log) and ``NAME.state.safetensors`` (to resume) go there, and
            ``tensorboard/NAME``.
        name: of the stage.
        checkpoint_every: steps between two states.
        log_every: steps between two rows of the log.

    Raises:
        RtvpError: the batch cannot be shared out evenly.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        samples: Dataset[list[Sample]],
        collate: Collator,
        config: StageConfig,
        folder: Path,
        name: str,
        checkpoint_every: int,
        log_every: int = 25,
    ) -> None:
        if config.batch_size % fabric.world_size:
            raise RtvpError(
                f"{name}: expected a batch_size that {fabric.world_size} processes can share evenly, "
                f"got {config.batch_size}"
            )
        self.fabric = fabric
        self.samples, self.collate = samples, collate
        self.config = config
        self.folder = folder
        self.state_path = folder / f"{name}.state.safetensors"
        self.name = name
        self.checkpoint_every, self.log_every = checkpoint_every, log_every
        if fabric.world_size > 1:
            synchronise_norms(module)
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
        if first < self.config.steps:
            self._train(raw, first, compute, on_converged)
        self.module.load_state_dict(self.average.state(), strict=False)

    def _train(
        self,
        raw: torch.optim.Optimizer,
        first: int,
        compute: ComputeLosses,
        on_converged: Callable[[], None] | None,
    ) -> None:
        wrapped, optimizer = self.fabric.setup(self.module, raw)
        watch = Stopwatch(self.fabric.device)
        log = StageLog(self.folder, self.name, first, self.config.steps, self.log_every, watch)
        with closing(log):
            for step, batch in self._batches(first):
                watch.lap("data")
                self._set_learning_rate(raw, step)
                terms = compute(wrapped, batch, step)
                loss = torch.stack(list(terms.values())).sum()
                watch.lap("forward")
                self.fabric.backward(loss)
                self._clip(wrapped, optimizer, step)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                self.average.update(self.module)
                watch.lap("backward")
                log.update(step, terms, len(batch.targets))
                self._watch(terms, on_converged)
                if (step + 1) % self.checkpoint_every == 0 or step + 1 == self.config.steps:
                    self._save(raw, step + 1)
                watch.lap("rest")

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
        if self.monitor.update(float(mean_over_processes(terms["reconstruction"].detach()))):
            on_converged()
            self.monitor = None

    def _batches(self, first: int) -> Iterator[tuple[int, Batch]]:
        alone = self.fabric.world_size == 1
        # Alone, a worker sees the whole batch and makes it; else the processes have to agree on its names.
        source = _Collated(self.samples, self.collate) if alone else self.samples
        rest: Dataset[Any] = Subset(source, range(first, self.config.steps))
        loader = DataLoader(
            rest,
            batch_size=None,
            num_workers=self._workers(),
            prefetch_factor=4,
            worker_init_fn=end_with_parent,
        )
        for step, item in enumerate(loader, start=first):
            if not alone:
                item = self.collate(step, item, union_over_processes(self.collate.needed(item)))
            yield step, self.fabric.to_device(item)

    def _workers(self) -> int:
        """Processes that decode and warp beside the step: one where it computes on the same cores."""
        cores = 1 if self.fabric.device.type == "cpu" else (os.cpu_count() or 1) - 1
        return max(1, min(MAX_WORKERS, cores))

    def _set_learning_rate(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        factor = learning_rate_factor(step, self.config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor

    def _save(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        if not self.fabric.is_global_zero:
            return
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


def end_with_parent(worker: int) -> None:
    """What a worker of a `DataLoader` starts with."""
    # Torch's workers notice a killed parent, then wait for ever until somebody reads what they have ready.
    follow_parent()


class _Collated(Dataset[Batch]):
    """Batches instead of samples."""

    def __init__(self, samples: Dataset[list[Sample]], collate: Collator) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, step: int) -> Batch:
        samples = self.samples[step]
        return self.collate(step, samples, self.collate.needed(samples))
