"""A small run of generated pictures, in as many processes as torchrun starts: FOLDER [KILL_AT]."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from small_step import WIDTH, make_small_step
from torch import Tensor, nn

from rtvp.config import MaskingConfig, StageConfig, TrainConfig
from rtvp.data.collate import Collator
from rtvp.data.dataset import SampleSettings, TrainingBatches, TrainingSamples
from rtvp.data.text_sampling import TextSettings
from rtvp.train.distributed import make_fabric
from rtvp.train.loop import Stage
from rtvp.train.step import ConvergenceMonitor, Losses
from rtvp.types import Batch, Prompt

SIDE, STEPS = 96, 6


def text_of(prompts: tuple[Prompt, ...]) -> Tensor:
    """A fixed random vector a wording."""
    seeds = [int.from_bytes(hashlib.sha256(repr(p.all_texts).encode()).digest()[:4], "big") for p in prompts]
    vectors = [np.random.default_rng(seed).normal(size=WIDTH) for seed in seeds]
    return F.normalize(torch.from_numpy(np.stack(vectors)).float(), dim=-1)


def main(folder: Path, kill_at: int = -1) -> None:
    """Log every step, save every second; in step ``kill_at`` every process ends as by kill -9."""
    torch.set_num_threads(1)
    stage = StageConfig(steps=STEPS, batch_size=4, sizes=(SIDE,), warmup_steps=2, learning_rate=5e-5)
    config = TrainConfig.model_validate({"data": {"sources": ["generated"]}, "training": stage.model_dump()})
    fabric = make_fabric(config)
    samples = TrainingSamples((), SampleSettings(SIDE, 4 * STEPS, synthetic_share=1.0, seed=3))
    batches = TrainingBatches(samples, 4, (SIDE,), STEPS, fabric.global_rank, fabric.world_size)
    collate = Collator(TextSettings(max_negatives=4), samples.all_names, {}, {})
    # A threshold this high ends the adaptation after the second window.
    masking = MaskingConfig(stop_window=2, stop_threshold=1.0)
    module = make_small_step(masking=masking, classes=("defect", *samples.all_names))
    folder.mkdir(parents=True, exist_ok=True)
    run = Stage(fabric, module, batches, collate, stage, folder, "small", checkpoint_every=2, log_every=1)
    run.monitor = ConvergenceMonitor(masking.stop_window, masking.stop_threshold)

    def compute(wrapped: nn.Module, batch: Batch, step: int) -> Losses:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return wrapped(batch, text_of(batch.prompts), step)  # type: ignore[no-any-return]

    run.run(compute, on_converged=module.stop_adapting)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
