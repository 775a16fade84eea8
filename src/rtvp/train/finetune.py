"""Fine-tuning: a checkpoint on a user's own images, without forgetting what it knew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from lightning_fabric import Fabric
from torch import nn

from rtvp.config import MaskingConfig, load_config, parse_config
from rtvp.data.dataset import GENERIC_NAME, Collator, TrainingBatches
from rtvp.data.glossary import descriptions, synonyms
from rtvp.data.labelled import LabelledSet
from rtvp.data.text_sampling import TextSettings
from rtvp.errors import RtvpError
from rtvp.evaluate import evaluate
from rtvp.files import read_utf8, replacing, sha256_of
from rtvp.measure import Prompting, RtvpNamed, make_prompts, measure
from rtvp.models.build import load_detector, save_detector, trained_on
from rtvp.models.detector import RTVPDetector
from rtvp.models.text_encoder import embed_prompts, make_text_encoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.models.weights import find_checkpoint
from rtvp.terminal import make_progress
from rtvp.tiling import Tiling
from rtvp.train.finetune_data import (
    CocoFolder,
    FinetuneData,
    Recipe,
    make_samples,
    read_finetune_data,
    retention_set,
)
from rtvp.train.interpolate import interpolate
from rtvp.train.loop import Stage
from rtvp.train.record import environment
from rtvp.train.step import Losses, RTVPStep
from rtvp.train.text import RememberingTextEncoder
from rtvp.types import Batch

RECIPE_FILE = Path(__file__).with_name("finetune.yaml")
START_SHIPPED = "shipped"
STAGE_NAME = "finetune"
CHECKPOINT_FILE, RECORD_FILE = "detector.safetensors", "finetune.json"
NEW, RETENTION = "new", "retention"
BY_NAME = "names"
PROMPTINGS: dict[str, Prompting] = {BY_NAME: "own", GENERIC_NAME: "generic"}  # what is asked for -> how
RESAMPLES = 200  # for the intervals

# Part -> what is asked for -> what `Evaluation.to_json` says.
PartFigures: TypeAlias = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class FinetuneTask:
    """What a user asks for.

    Attributes:
        own: the labelled images to learn.
        start: a checkpoint, ``shipped``, or ``open``.
        steps: of training; the recipe's if None.
        replay_share: of the pictures that are trained on, old knowledge; the recipe's if None.
        replay: folder of the public sets, to replay those that the checkpoint was trained on.
        retention: labelled images that are not trained on; generated ones if None.
        keep: share of the starting weights in the result, from 0 to 1.
        seed: of the split and the training.
        tiles: whether large pictures are learnt and measured in parts, too, as by `rtvp detect --tile auto`.
    """

    own: CocoFolder
    start: str = START_SHIPPED
    steps: int | None = None
    replay_share: float | None = None
    replay: Path | None = None
    retention: CocoFolder | None = None
    keep: float = 0.0
    seed: int = 0
    tiles: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the report: images, what they were asked for, and the figures before and after.

    Attributes:
        of: name of the images.
        is_new: whether they are the user's; if not, the row is of retention.
        asked: ``names`` for their own names, ``defect`` for any defect.
        images: number of images.
        boxes: labelled boxes.
        before: ``AP``, ``AP50`` ... in [0, 1] of the start; None where there is nothing to measure.
        after: of the result.
    """

    of: str
    is_new: bool
    asked: str
    images: int
    boxes: int
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Finetuned:
    """The outcome: the checkpoint, whether the new AP is of images that were held out, and all figures."""

    checkpoint: Path
    held_out: bool
    rows: tuple[Measured, ...]


def finetune(task: FinetuneTask, out: Path) -> Finetuned:
    """Train a checkpoint on, and measure what it gained and what it lost; interrupted, the same call goes on.

    The early blocks of the image encoder and the decoder of the adaptation, which converged before, stay as
    they are, and so do all batch statistics.

    Args:
        task: what to do.
        out: folder of the result: ``detector.safetensors``, ``finetune.json`` (all figures), ``finetune.csv``
            (the log), and what it takes to go on. Another ``keep`` into the same folder does not train again.

    Raises:
        RtvpError: labels, images or checkpoint are wrong, or ``out`` holds something else.
    """
    if not 0 <= task.keep <= 1:
        raise RtvpError(f"keep: expected a share from 0 to 1, got {task.keep}")
    recipe = _read_recipe(task)
    start = find_checkpoint(None if task.start == START_SHIPPED else task.start)
    detector, config, metadata = load_detector(start)
    sizes = {"training": recipe.training.model_copy(update={"sizes": (config.input_size,)})}
    recipe = recipe.model_copy(update=sizes)
    known = trained_on(metadata)
    if task.replay is not None and metadata.get("split", "").startswith("zero-shot"):
        raise RtvpError(
            f"--replay: whole sets are taken, which show the unseen names of {metadata['split']}, on which "
            f"{start} was trained: leave it out"
        )
    data = read_finetune_data(task.own, recipe, task.seed, known, task.replay, task.retention)
    run = {
        "start_sha256": sha256_of(start),
        "recipe": recipe.model_dump(mode="json"),
        "seed": task.seed,
        "data_digest": data.digest,
    }
    _claim(out, run)
    encoder = RememberingTextEncoder(make_text_encoder(config.text_encoder))
    checkpoint, notes = out / CHECKPOINT_FILE, {**metadata}
    notes["trained_on"] = ", ".join(dict.fromkeys([*known, data.train.name]))
    with retention_set(data, recipe.retention_images, config.input_size) as kept:
        parts = {NEW: data.measured, RETENTION: kept}
        measure_now = partial(_measure, encoder, config.input_size, parts, Tiling() if task.tiles else None)
        before = _remembered(out / "before.json", lambda: measure_now(detector, "before"))
        start_weights = {name: value.clone() for name, value in detector.state_dict().items()}
        _train(detector, encoder, data, recipe, task.seed, out)
        interpolate(detector, start_weights, task.keep)
        save_detector(checkpoint, detector, config, notes)
        # What is measured is the file, whose weights are rounded to half precision.
        saved, _, _ = load_detector(checkpoint)
        after = measure_now(saved, "after")
    if data.held_out and (point := after[NEW][BY_NAME]["operating_point"])["f1"]:
        notes["threshold"] = f"{point['threshold']:.3f}"
        save_detector(checkpoint, saved, config, notes)
    rows = _rows(parts, before, after)
    _write_json(out / RECORD_FILE, {**run, **_report(task, data, notes, before, after), **environment()})
    return Finetuned(checkpoint, data.held_out, rows)


def _read_recipe(task: FinetuneTask) -> Recipe:
    recipe = load_config(RECIPE_FILE, Recipe).model_dump()
    if task.steps is not None:
        recipe["training"]["steps"] = task.steps
    if not task.tiles:
        recipe["tile_share"] = 0.0
    if task.replay_share is not None:
        recipe["replay_share"] = task.replay_share
    return parse_config(recipe, Recipe, where="fine-tuning")


def _claim(out: Path, run: Mapping[str, Any]) -> None:
    """Make the folder of the run, or check that it is of the same run."""
    path, text = out / "config.json", json.dumps(run, indent=1)
    if path.is_file() and read_utf8(path) != text:
        raise RtvpError(
            f"{out} holds a run on other images, from another checkpoint or with other options: choose "
            "another folder, or remove it"
        )
    _write(path, text)


def _train(
    detector: RTVPDetector,
    encoder: RememberingTextEncoder,
    data: FinetuneData,
    recipe: Recipe,
    seed: int,
    out: Path,
) -> None:
    """The one stage; ``detector`` ends with its averaged weights."""
    torch.manual_seed(seed)
    detector.image_encoder.freeze()
    beyond = recipe.training.thaw_beyond
    if beyond is not None and detector.image_encoder.blocks_beyond(beyond):  # Mobile-SAM's stay as they are
        detector.image_encoder.thaw_beyond(beyond)
    detector.eval()  # batch statistics stay as they are: small batches of one product would spoil them
    step_module = RTVPStep(detector, None, recipe.losses, MaskingConfig(), seed)
    step_module.stop_adapting()
    stage = recipe.training
    samples = make_samples(data, recipe, stage, seed)
    batches = TrainingBatches(samples, stage.batch_size, stage.sizes, stage.steps, seed=seed)
    words = TextSettings(recipe.max_negatives, recipe.describe_share, seed=seed)
    collate = Collator(words, samples.all_names, descriptions(), synonyms())
    fabric = Fabric(accelerator="cpu", devices=1, precision=recipe.precision)

    def losses(module: nn.Module, batch: Batch, step: int) -> Losses:
        text = torch.from_numpy(embed_prompts(batch.prompts, encoder))
        return module(batch, text, step)  # type: ignore[no-any-return]

    Stage(fabric, step_module, batches, collate, stage, out, STAGE_NAME, recipe.checkpoint_every).run(losses)


def _measure(
    encoder: RememberingTextEncoder,
    size: int,
    parts: Mapping[str, LabelledSet],
    tiling: Tiling | None,
    detector: RTVPDetector,
    when: str,
) -> PartFigures:
    """Each part asked for its own names, and for any defect."""
    named = RtvpNamed(TorchNetwork(detector), encoder, size, tiling=tiling)
    found: PartFigures = {}
    with make_progress() as progress:
        images = sum(len(labelled.images) for labelled in parts.values()) * len(PROMPTINGS)
        task = progress.add_task(f"measuring, {when}", total=images)
        for part, labelled in parts.items():
            found[part] = {}
            for asked, prompting in PROMPTINGS.items():
                prompts = make_prompts(prompting, ())
                outcomes = measure(named, [labelled], prompts, on_image=lambda: progress.advance(task))
                found[part][asked] = evaluate(outcomes, bootstrap=RESAMPLES).to_json()
    return found


def _remembered(path: Path, measure_it: Callable[[], PartFigures]) -> PartFigures:
    if not path.is_file():
        _write_json(path, measure_it())
    content: PartFigures = json.loads(read_utf8(path))
    return content


def _rows(parts: Mapping[str, LabelledSet], before: PartFigures, after: PartFigures) -> tuple[Measured, ...]:
    return tuple(
        Measured(
            of=labelled.name,
            is_new=part == NEW,
            asked=asked,
            images=figures["images"],
            boxes=figures["boxes"],
            before=before[part][asked]["figures"],
            after=figures["figures"],
        )
        for part, labelled in parts.items()
        for asked, figures in after[part].items()
    )


def _report(
    task: FinetuneTask, data: FinetuneData, notes: Mapping[str, str], before: PartFigures, after: PartFigures
) -> dict[str, Any]:
    """What ``finetune.json`` says beside how the run was made."""
    return {
        "start": task.start,
        "keep": task.keep,
        "tiles": task.tiles,
        "threshold": notes.get("threshold"),
        "data": str(task.own.file),
        "names": sorted(data.train.vocabulary),
        "trained_on_images": len(data.train.images),
        "new_is_held_out": data.held_out,
        "replayed": {labelled.name: len(labelled.images) for labelled in data.replay},
        "retention_on": str(task.retention.file) if task.retention else "generated pictures",
        "before": before,
        "after": after,
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
