"""How many images a second training takes in, and where the time goes.

    python benchmarks/train.py [--arms cpu cpu-cached late late-cached paper] [--steps 20] [--batch N]
                               [--size PX] [--threads 2] [--accelerator cuda --precision bf16-mixed]
                               [--json FILE]

Trains for some steps on generated pictures that lie on disk; weights are random, which costs the same. Steps
before the fifth are not counted. ``late`` also trains the blocks of the encoder behind stride 8. What ends in
``cached`` reads features that were computed before: the time for this is given apart. Figures are those that
every training run logs.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from rtvp.config import DetectorConfig, ImageEncoderConfig, StageConfig, TrainConfig
from rtvp.data.dataset import Collator, SampleSettings, TrainingBatches, TrainingSamples
from rtvp.data.labelled import LabelledSet
from rtvp.data.synthetic import generate
from rtvp.data.text_sampling import TextSettings
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.models.build import build_detector
from rtvp.models.image_encoder import IMAGE_ENCODERS
from rtvp.train.distributed import make_fabric
from rtvp.train.expert_file import build_expert
from rtvp.train.feature_cache import CachedSamples
from rtvp.train.logs import PHASES
from rtvp.train.loop import Stage
from rtvp.train.record import processor
from rtvp.train.step import ExpertStep, Losses, RTVPStep
from rtvp.types import Batch

PICTURES = 24
WARM_UP = 4  # steps


class Arm(NamedTuple):
    """What is measured: the detector, the expert's own encoder (None: the detector's, frozen), the batch."""

    detector: DetectorConfig
    expert_encoder: str | None
    size: int
    batch: int
    cached: bool = False
    thaw_beyond: int | None = None


CPU = DetectorConfig(image_encoder=ImageEncoderConfig(name="efficientnet_lite0"))
PAPER = DetectorConfig(
    image_encoder=ImageEncoderConfig(name="mobile_sam"), text_width=512, strides=(4, 8, 16, 32)
)
ARMS = {
    "cpu": Arm(CPU, None, size=320, batch=16),
    "cpu-cached": Arm(CPU, None, size=320, batch=16, cached=True),
    "late": Arm(CPU, None, size=320, batch=16, thaw_beyond=8),
    "late-cached": Arm(CPU, None, size=320, batch=16, cached=True, thaw_beyond=8),
    "paper": Arm(PAPER, "efficientnet_lite2", size=640, batch=32),
}


def main() -> None:
    """Measure and print; ``--json`` also writes the figures to a file."""
    arguments = _arguments()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    figures: dict[str, Any] = {"machine": _machine(arguments)}
    for name in arguments.arms:
        arm = ARMS[name]
        arm = arm._replace(size=arguments.size or arm.size, batch=arguments.batch or arm.batch)
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = measure(arm, arguments, Path(folder))
    print(json.dumps(figures, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(arm: Arm, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train for some steps: images a second, share of each phase, and parameters."""
    stage = StageConfig(steps=WARM_UP + arguments.steps, batch_size=arm.batch, sizes=(arm.size,))
    config = TrainConfig.model_validate(
        {
            "accelerator": arguments.accelerator,
            "precision": arguments.precision,
            "data": {"sources": ["generated"]},
            "training": stage.model_dump(),
        }
    )
    fabric = make_fabric(config)
    samples = TrainingSamples(
        [write_pictures(folder, arm.size)],
        SampleSettings(arm.size, stage.steps * arm.batch, synthetic_share=0.0),
    )
    step = make_step(arm, samples.all_names)
    figures: dict[str, Any] = {"size_px": arm.size, "batch": arm.batch, "steps": arguments.steps}
    source: TrainingSamples | CachedSamples = samples
    if arm.cached:
        start = time.perf_counter()
        source = CachedSamples(
            samples, step.detector.image_encoder, 4 * arm.batch, arm.size, arm.detector.strides, folder, ""
        )
        source.fill(step.detector.image_encoder, fabric.device)
        seconds = time.perf_counter() - start
        figures["filling_the_cache_images_per_second"] = round(source.count / seconds, 1)
    batches = TrainingBatches(source, arm.batch, stage.sizes, stage.steps)
    collate = Collator(TextSettings(), samples.all_names, {}, {})
    # No state within the time that counts.
    run = Stage(fabric, step, batches, collate, stage, folder, "run", stage.steps + 1, log_every=1)
    text = random_text(arm.detector.text_width).to(fabric.device)

    def compute(module: nn.Module, batch: Batch, number: int) -> Losses:
        return module(batch, text[: len(batch.names)], number)  # type: ignore[no-any-return]

    run.run(compute)
    return {**figures, **read_log(folder / "run.csv", arm.batch), "parameters": _parameters(step)}


def make_step(arm: Arm, names: tuple[str, ...]) -> RTVPStep:
    """The whole of what is trained, with random weights."""
    config = TrainConfig.model_validate({"data": {"sources": ["generated"]}, "training": {"steps": 1}})
    detector = build_detector(arm.detector)
    if arm.thaw_beyond is not None:
        detector.image_encoder.thaw_beyond(arm.thaw_beyond)
    encoder = IMAGE_ENCODERS[arm.expert_encoder]() if arm.expert_encoder else detector.image_encoder
    classes = ("defect", *names)
    expert = ExpertStep(build_expert(encoder, len(classes), arm.detector), classes, config.losses)
    return RTVPStep(detector, expert, config.losses, config.masking)


def write_pictures(folder: Path, side: int) -> LabelledSet:
    """Generated pictures on disk, one in four of them good."""
    records = []
    for number in range(PICTURES):
        sample = generate(number, side, side, good=number % 4 == 0)
        path = folder / f"{number}.png"
        Image.fromarray(sample.image).save(path)
        labels = tuple(Annotation(defect.name, defect.box_xyxy) for defect in sample.defects)
        records.append(ImageRecord(path, side, side, labels, group=path.name))
    names = frozenset(label.name for record in records for label in record.annotations)
    return LabelledSet("generated", "generated", "", tuple(records), names)


def random_text(width: int) -> Tensor:
    """Embeddings; training looks those of a frozen encoder up, it does not compute them again."""
    return F.normalize(torch.randn(1000, width), dim=-1)


def read_log(path: Path, batch: int) -> dict[str, Any]:
    """Images a second and share of each phase, over the steps that count."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[WARM_UP:]
    seconds = [batch / float(row["images_per_second"]) for row in rows]
    shares = {
        phase: sum(float(row[phase]) * spent for row, spent in zip(rows, seconds, strict=True)) / sum(seconds)
        for phase in PHASES
    }
    return {
        "images_per_second": round(batch * len(rows) / sum(seconds), 2),
        "share": {phase: round(share, 3) for phase, share in shares.items()},
    }


def _parameters(step: RTVPStep) -> dict[str, int]:
    """All of them, and those that learn."""
    sizes = [(p.numel(), p.requires_grad) for p in step.parameters()]
    return {"all": sum(n for n, _ in sizes), "learning": sum(n for n, learns in sizes if learns)}


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if arguments.accelerator == "cuda" else None
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "precision": arguments.precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS, default=["cpu", "cpu-cached", "late", "late-cached"]
    )
    parser.add_argument("--steps", type=int, default=20, help="that count")
    parser.add_argument("--batch", type=int, help="images a step; the arm's own if left out")
    parser.add_argument("--size", type=int, help="side of the input, px; the arm's own if left out")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--accelerator", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
