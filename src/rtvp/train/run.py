"""One training run, from a configuration file to a checkpoint and its validation figures."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from rtvp.config import StageConfig, TrainConfig, load_config
from rtvp.data.dataset import GENERIC_NAME, BatchSettings, TrainingBatches, TrainingSource
from rtvp.data.glossary import glossary
from rtvp.data.synthetic import DEFECT_NAMES, DESCRIPTIONS
from rtvp.errors import RtvpError
from rtvp.evaluate.average_precision import Prediction, Truth
from rtvp.evaluate.threshold import best_f1
from rtvp.files import replacing
from rtvp.mmio.schema import ImageRecord
from rtvp.mmio.sources import load_source, source_table
from rtvp.mmio.splits import split_by_group
from rtvp.models.build import build_detector, load_detector, save_detector
from rtvp.models.detector import RTVPDetector
from rtvp.models.expert import Expert
from rtvp.models.image_encoder import (
    IMAGE_ENCODERS,
    EfficientNetLite,
    ImageEncoder,
    TinyViT,
    load_mobile_sam,
    load_packaged_weights,
)
from rtvp.models.text_encoder import embed_prompts, make_text_encoder
from rtvp.train.loop import Stage
from rtvp.train.step import ConvergenceMonitor, ExpertStep, Losses, RTVPStep
from rtvp.train.text import RememberingTextEncoder
from rtvp.train.validate import validate
from rtvp.types import Batch

PACKAGED = "packaged"  # image_encoder_weights that come with an installed package

Split = dict[str, tuple[ImageRecord, ...]]  # source -> images


def run_training(config_path: Path, out: Path, root: Path) -> Path:
    """Train as ``config_path`` says; interrupted, the same call goes on from the last saved state.

    Args:
        config_path: a YAML file of the schema `TrainConfig`.
        out: folder of the run: a copy of the configuration, logs, states, ``detector.safetensors``,
            ``validation.json``.
        root: folder that holds the folders of the sources.

    Returns:
        The checkpoint.

    Raises:
        RtvpError: a configuration, source or weight file that is wrong or missing, or a folder that holds
            another run.
    """
    config = load_config(config_path, TrainConfig)
    _check(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    train, validation = _split(config, root)
    held_out = {name: _load(root, name) for name in config.data.held_out}
    encoder = _text_encoder(config)
    detector = _start(config)
    _claim(out, config)  # not before all is found to be there: a folder of a failed start would be in the way
    expert = _pretrain_expert(config, fabric, detector, train, out)
    _train_detector(config, fabric, detector, expert, encoder, train, out)
    checkpoint = out / "detector.safetensors"
    metadata = {"trained_on": ", ".join(config.data.sources)}
    save_detector(checkpoint, detector, config.detector, metadata)
    # What is measured is the file, whose weights are rounded to half precision, not what it was made from.
    saved, _, _ = load_detector(checkpoint)
    figures, threshold = _validate(config, saved, encoder, validation, held_out)
    _write_json(out / "validation.json", figures)
    save_detector(checkpoint, saved, config.detector, {**metadata, "threshold": f"{threshold:.3f}"})
    return checkpoint


def _check(config: TrainConfig) -> None:
    """What the schema cannot see; found here, not after hours of training."""
    detector, expert = config.detector.image_encoder.name, config.expert
    if expert is not None and expert.image_encoder not in IMAGE_ENCODERS:
        known = ", ".join(IMAGE_ENCODERS)
        raise RtvpError(f"expert.image_encoder: expected one of {known}, got {expert.image_encoder!r}")
    if expert is not None and expert.shares_encoder and expert.image_encoder != detector:
        raise RtvpError(
            f"expert.shares_encoder: expected expert.image_encoder to be the detector's {detector}, "
            f"got {expert.image_encoder}"
        )
    if leaked := sorted(set(config.data.sources) & set(config.data.held_out)):
        raise RtvpError(f"data.held_out: expected sources that are not trained on, got {', '.join(leaked)}")


def _claim(out: Path, config: TrainConfig) -> None:
    """Make the folder of the run, or check that it is of the same run."""
    out.mkdir(parents=True, exist_ok=True)
    path, content = out / "config.json", config.model_dump(mode="json")
    if path.exists() and path.read_text(encoding="utf-8") != json.dumps(content, indent=1):
        raise RtvpError(f"{out} holds a run of another configuration: choose another folder, or remove it")
    _write_json(path, content)


def _split(config: TrainConfig, root: Path) -> tuple[Split, Split]:
    train: Split = {}
    validation: Split = {}
    for name in config.data.sources:
        images = _load(root, name)
        train[name], validation[name] = split_by_group(images, config.data.validation_share, config.seed)
        print(f"{name}: {len(train[name])} to train on, {len(validation[name])} to validate", file=sys.stderr)
    return train, validation


def _load(root: Path, name: str) -> tuple[ImageRecord, ...]:
    images = load_source(root, name).images
    if not images:
        raise RtvpError(
            f"source {name}: expected labelled images in {root / source_table()[name].folder}, got none"
        )
    return images


def _text_encoder(config: TrainConfig) -> RememberingTextEncoder:
    encoder = RememberingTextEncoder(make_text_encoder(config.detector.text_encoder))
    if encoder.width != config.detector.text_width:
        raise RtvpError(
            f"detector.text_width: expected {encoder.width}, the width of {encoder.name}, "
            f"got {config.detector.text_width}"
        )
    return encoder


def _start(config: TrainConfig) -> RTVPDetector:
    """The detector with the weights that training begins with."""
    if config.start_from is None:
        detector = build_detector(config.detector)
        _load_encoder_weights(detector.image_encoder, config.image_encoder_weights)
    else:
        detector, found, _ = load_detector(Path(config.start_from))
        # How large the input usually is decides nothing about the shape of the weights.
        if found.model_copy(update={"input_size": config.detector.input_size}) != config.detector:
            raise RtvpError(
                f"start_from: expected a checkpoint of the configured detector, and {config.start_from} is "
                "of another: give `detector` the values in the configuration of the checkpoint's run"
            )
    if config.training.thaw_beyond is not None:
        detector.image_encoder.thaw_beyond(config.training.thaw_beyond)
    return detector


def _load_encoder_weights(encoder: ImageEncoder, weights: str) -> None:
    """Fill an encoder; ``weights`` is the configuration's ``image_encoder_weights``.

    A CNN always starts from its package: it may be the expert beside a Mobile-SAM that is read from a file.
    """
    if isinstance(encoder, EfficientNetLite):
        load_packaged_weights(encoder)
    elif isinstance(encoder, TinyViT):
        if weights == PACKAGED:
            raise RtvpError(
                "image_encoder_weights: expected the path of the official mobile_sam.pt, got packaged"
            )
        load_mobile_sam(encoder, Path(weights))


def _batches(config: TrainConfig, stage: StageConfig, train: Split, seed: int) -> TrainingBatches:
    data = config.data
    sources = [
        TrainingSource(name, images, frozenset(source_table()[name].categories))
        for name, images in train.items()
    ]
    settings = BatchSettings(
        stage.batch_size,
        stage.sizes,
        data.synthetic_share,
        data.balance,
        data.scale_range,
        data.turn_share,
        data.max_negatives,
        seed,
    )
    return TrainingBatches(sources, settings, {**DESCRIPTIONS, **glossary()}, stage.steps)


def _pretrain_expert(
    config: TrainConfig, fabric: Fabric, detector: RTVPDetector, train: Split, out: Path
) -> ExpertStep | None:
    if config.expert is None:
        return None
    image_encoder = IMAGE_ENCODERS[config.expert.image_encoder]()
    _load_encoder_weights(image_encoder, config.image_encoder_weights)
    classes = sorted(_seen_names(config) | {GENERIC_NAME})
    model = config.detector
    expert = Expert(
        image_encoder, len(classes), model.channels, model.strides, model.head_strides, model.distance_bins
    )
    step = ExpertStep(expert, classes, config.losses)
    stage = config.expert.pretraining
    batches = _batches(config, stage, train, config.seed + 1)
    Stage(fabric, step, batches, stage, out, "expert", config.checkpoint_every).run(_expert_losses)
    if config.expert.shares_encoder:
        detector.image_encoder.load_state_dict(image_encoder.state_dict())
        expert.image_encoder = detector.image_encoder
    return step


def _seen_names(config: TrainConfig) -> set[str]:
    names = {name for source in config.data.sources for name in source_table()[source].categories}
    return names | set(DEFECT_NAMES) if config.data.synthetic_share else names


def _expert_losses(module: nn.Module, batch: Batch, step: int) -> Losses:
    return module(batch)  # type: ignore[no-any-return]


def _train_detector(
    config: TrainConfig,
    fabric: Fabric,
    detector: RTVPDetector,
    expert: ExpertStep | None,
    encoder: RememberingTextEncoder,
    train: Split,
    out: Path,
) -> None:
    step_module = RTVPStep(detector, expert, config.losses, config.masking, config.seed)
    batches = _batches(config, config.training, train, config.seed)
    stage = Stage(fabric, step_module, batches, config.training, out, "rtvp", config.checkpoint_every)
    if step_module.adapting:
        stage.monitor = ConvergenceMonitor(config.masking.stop_window, config.masking.stop_threshold)

    def losses(module: nn.Module, batch: Batch, step: int) -> Losses:
        text = embed_prompts(batch.prompts, encoder).to(batch.images.device)
        return module(batch, text, step)  # type: ignore[no-any-return]

    stage.run(losses, on_converged=step_module.stop_adapting)


def _validate(
    config: TrainConfig,
    detector: RTVPDetector,
    encoder: RememberingTextEncoder,
    validation: Split,
    held_out: Split,
) -> tuple[dict[str, Any], float]:
    """Validation parts of the sources trained on, and seen names of the sources held out.

    Returns:
        The figures, per part and source, and the threshold with the best F1 over all validation images.
    """
    table, size = source_table(), config.detector.input_size
    seen = _seen_names(config)
    names = {name: table[name].categories for name in validation}
    names |= {name: tuple(n for n in table[name].categories if n in seen) for name in held_out}
    figures: dict[str, Any] = {"input_size": size, "validation": {}, "held_out": {}}
    truth: list[list[Truth]] = []
    predictions: list[list[Prediction]] = []
    parts = (("validation", validation), ("held_out", {n: i for n, i in held_out.items() if names[n]}))
    for part, images in parts:
        for source, outcome in validate(detector, encoder, images, names, size):
            # JSON has no NaN, which is the figure of a part without any box.
            values = {k: None if math.isnan(v) else v for k, v in outcome.figures().items()}
            figures[part][source] = {"names": list(outcome.names), **values}
            print(f"{part} {source}: AP50 {values['AP50']} ({values['images']} images)", file=sys.stderr)
            if part == "validation":
                truth += outcome.truth
                predictions += outcome.predictions
    scored = [v["AP50"] for v in figures["validation"].values() if v["AP50"] is not None]
    point = best_f1(truth, predictions)
    figures["mean_validation_AP50"] = fmean(scored) if scored else None
    figures["best_f1"] = point._asdict()
    return figures, point.threshold


def _write_json(path: Path, content: object) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
