"""One training run: from a configuration and its data to a checkpoint and its validation figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rtvp.config import StageConfig, TrainConfig, load_config, parse_config
from rtvp.data.dataset import GENERIC_NAME, Collator, SampleSettings, TrainingBatches, TrainingSamples
from rtvp.data.glossary import descriptions, synonyms
from rtvp.data.text_sampling import TextSettings
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.models.build import build_detector, extended, load_detector, save_detector, trained_on
from rtvp.models.detector import RTVPDetector
from rtvp.models.image_encoder import (
    IMAGE_ENCODERS,
    EfficientNetLite,
    ImageEncoder,
    TinyViT,
    load_mobile_sam,
    load_packaged_weights,
)
from rtvp.models.text_encoder import embed_prompts, make_text_encoder
from rtvp.train.data import RunData, read_run_data
from rtvp.train.distributed import make_fabric
from rtvp.train.expert_file import build_expert, save_expert
from rtvp.train.feature_cache import CachedSamples
from rtvp.train.fit_presence import fit_presence
from rtvp.train.interpolate import interpolate
from rtvp.train.loop import Stage
from rtvp.train.record import write_record
from rtvp.train.step import ConvergenceMonitor, ExpertStep, Losses, RTVPStep
from rtvp.train.text import RememberingTextEncoder
from rtvp.train.validate import validate
from rtvp.types import Batch

PACKAGED = "packaged"  # image_encoder_weights that come with an installed package
FEATURES_FOLDER = "features"


def run_training(config_path: Path, out: Path, root: Path, benchmark: Path | None = None) -> Path:
    """Train as a file says; interrupted, the same call goes on from the last saved state.

    Args:
        config_path: a YAML file of the schema `TrainConfig`.
        out: folder of the run; see `train`.
        root: folder that holds the folders of all sets.
        benchmark: a finished build, where the configuration names a split of it.

    Returns:
        The checkpoint.

    Raises:
        RtvpError: as `train` and `read_run_data`.
    """
    config = load_config(config_path, TrainConfig)
    _check(config)  # before the images are read
    return train(config, read_run_data(config, root, benchmark), out)


def train(config: TrainConfig, data: RunData, out: Path, features: Path | None = None) -> Path:
    """Pre-train the expert, train RTVP with its help, validate; interrupted, the same call goes on.

    Args:
        config: of the run.
        data: what `read_run_data` made of it.
        out: folder of the run: its configuration and record, logs, states, ``detector.safetensors``,
            ``validation.json``.
        features: folder of cached features, which runs may share; None: one below ``out``.

    Returns:
        The checkpoint.

    Raises:
        RtvpError: weights that are wrong or missing, a folder that holds another run, or a run that diverges.
    """
    _check(config)
    run = _Run(config, data, out, features or out / FEATURES_FOLDER)
    encoder = _text_encoder(config)
    detector, before = _start(config)
    run.claim()  # not before all is found to be there: a folder of a failed start would be in the way
    expert = run.pretrain_expert(detector) if config.expert else None
    start_weights = {name: value.clone() for name, value in detector.state_dict().items()}
    run.train_detector(detector, expert, encoder)
    interpolate(detector, start_weights, config.keep)
    checkpoint = out / "detector.safetensors"
    metadata = _notes(config, data, before)
    if run.fabric.is_global_zero:
        save_detector(checkpoint, detector, config.detector, metadata)
        # What is measured is the file, whose weights are rounded to half precision, not what it came from.
        saved, _, _ = load_detector(checkpoint)
        if saved.presence is not None:
            fit_presence(saved, data.train, encoder, config.detector.input_size)
        figures, threshold = validate(config, data, saved, encoder)
        _write_json(out / "validation.json", figures)
        if figures["best_f1"]["f1"]:
            metadata["threshold"] = f"{threshold:.3f}"
        else:  # the threshold above all scores would make a detector that finds nothing
            print(
                "nothing was found in the pictures kept aside: the threshold stays the usual one",
                file=sys.stderr,
            )
        save_detector(checkpoint, saved, config.detector, metadata)
    run.fabric.barrier()
    return checkpoint


def train_expert(config: TrainConfig, data: RunData, out: Path, features: Path | None = None) -> Path:
    """Train the expert alone, as its pre-training is configured, and keep it with its closed-set head.

    Returns:
        ``expert.safetensors`` in ``out``.

    Raises:
        RtvpError: as `train`, and if the configuration has no expert.
    """
    if config.expert is None:
        raise RtvpError("expected a configuration with an expert, got none")
    run = _Run(config, data, out, features or out / FEATURES_FOLDER)
    detector, _ = _start(config)
    run.claim()
    step = run.pretrain_expert(detector)
    path = out / "expert.safetensors"
    if run.fabric.is_global_zero:
        name = config.expert.image_encoder
        save_expert(path, step.expert.eval(), tuple(step.columns), name, config.detector)
    run.fabric.barrier()
    return path


class _Run:
    """What the stages of one run have in common."""

    def __init__(self, config: TrainConfig, data: RunData, out: Path, features: Path) -> None:
        self.config, self.data, self.out, self.features = config, data, out, features
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.fabric = make_fabric(config)

    def claim(self) -> None:
        """Make the folder of the run, or check that it is of the same run."""
        path = self.out / "config.json"
        if path.exists() and not self._is_this_run(json.loads(path.read_text(encoding="utf-8"))):
            raise RtvpError(
                f"{self.out} holds a run of another configuration or other data: choose another folder, or "
                "remove it"
            )
        if self.fabric.is_global_zero:
            _write_json(path, {"config": self.config.model_dump(mode="json"), "data": self.data.digest})
            write_record(self.out, self.config, self.data.digest)
        self.fabric.barrier()

    def _is_this_run(self, found: dict[str, Any]) -> bool:
        try:  # a setting that came later has its default then
            config = parse_config(found["config"], TrainConfig, "config.json")
        except RtvpError:
            return False
        return config == self.config and bool(found["data"] == self.data.digest)

    def pretrain_expert(self, detector: RTVPDetector) -> ExpertStep:
        """The expert's own training, on the seen names; it may leave its encoder to the detector."""
        config = self.config
        assert config.expert is not None
        if config.expert.learns_encoder:
            encoder = IMAGE_ENCODERS[config.expert.image_encoder]()
            _load_encoder_weights(encoder, config.image_encoder_weights)
        else:
            encoder = detector.image_encoder
        classes = sorted(self.data.names(config.data) | {GENERIC_NAME})
        expert = build_expert(encoder, len(classes), config.detector)
        step = ExpertStep(expert, classes, config.losses)
        self._stage(step, encoder, config.expert.pretraining, "expert", config.seed + 1).run(_expert_losses)
        if config.expert.shares_encoder and config.expert.learns_encoder:
            detector.image_encoder.load_state_dict(encoder.state_dict())
            expert.image_encoder = detector.image_encoder
        return step

    def train_detector(
        self, detector: RTVPDetector, expert: ExpertStep | None, encoder: RememberingTextEncoder
    ) -> None:
        """The training of RTVP itself; ``detector`` ends with its averaged weights."""
        config = self.config
        # What is drawn here must not depend on whether the stage before was trained or read from its state.
        torch.manual_seed(config.seed)
        step_module = RTVPStep(detector, expert, config.losses, config.masking, config.seed)
        stage = self._stage(step_module, detector.image_encoder, config.training, "rtvp", config.seed)
        if step_module.adapting:
            stage.monitor = ConvergenceMonitor(config.masking.stop_window, config.masking.stop_threshold)

        def losses(module: nn.Module, batch: Batch, step: int) -> Losses:
            text = torch.from_numpy(embed_prompts(batch.prompts, encoder)).to(self.fabric.device)
            return module(batch, text, step)  # type: ignore[no-any-return]

        stage.run(losses, on_converged=step_module.stop_adapting)

    def _stage(
        self, module: nn.Module, encoder: ImageEncoder, stage: StageConfig, name: str, seed: int
    ) -> Stage:
        config, fabric = self.config, self.fabric
        samples, names = self._samples(encoder, stage, seed)
        batches = TrainingBatches(
            samples, stage.batch_size, stage.sizes, stage.steps, fabric.global_rank, fabric.world_size, seed
        )
        data, excluded = config.data, self.data.excluded
        words = TextSettings(
            data.max_negatives, data.describe_share, data.synonym_share, data.name_dropout, seed
        )
        collate = Collator(words, names, descriptions(excluded), synonyms(excluded))
        return Stage(fabric, module, batches, collate, stage, self.out, name, config.checkpoint_every)

    def _samples(
        self, encoder: ImageEncoder, stage: StageConfig, seed: int
    ) -> tuple[TrainingSamples | CachedSamples, tuple[str, ...]]:
        """Where the stage's pictures come from, and all names that they may be asked about."""
        data, cached = self.config.data, stage.cached_samples
        settings = SampleSettings(
            max(stage.sizes),
            cached or stage.steps * stage.batch_size,
            data.synthetic_share,
            data.balance,
            data.scale_range,
            data.turn_share,
            data.good_share,
            data.mosaic_share,
            data.mosaic_until,
            data.cut_paste_share,
            data.painted_share,
            data.tile_share,
            data.attribute_words,
            data.box_margin,
            self.config.seed if cached else seed,  # stages with the same cache share it
        )
        samples = TrainingSamples(self.data.train, settings, self.data.excluded)
        if cached is None:
            return samples, samples.all_names
        pool = CachedSamples(
            samples,
            encoder,
            cached,
            stage.sizes[0],
            self.config.detector.strides,
            self.features,
            self.data.digest,
        )
        with self.fabric.rank_zero_first():
            pool.fill(encoder, self.fabric.device)
        return pool, samples.all_names


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
    for name, stage in _stages(config):
        if stage.cached_samples is None:
            continue
        if len(stage.sizes) != 1:
            raise RtvpError(f"{name}.sizes: expected one size where samples are cached, got {stage.sizes}")
        if config.data.mosaic_share and config.data.mosaic_until < 1:
            raise RtvpError(
                f"data.mosaic_until: expected 1 where {name}.cached_samples draws the same pictures to the "
                f"end, got {config.data.mosaic_until}"
            )
    if config.training.cached_samples is not None and expert is not None and not expert.shares_encoder:
        raise RtvpError(
            "training.cached_samples: expected an expert that shares the encoder, got one that has its own "
            "and needs the pictures: set it to null, or expert.shares_encoder to true"
        )
    if expert is not None and expert.learns_encoder and expert.pretraining.cached_samples is not None:
        raise RtvpError(
            "expert.pretraining.cached_samples: expected a frozen encoder, got one that learns: set it to "
            "null, or expert.learns_encoder to false"
        )


def _stages(config: TrainConfig) -> list[tuple[str, StageConfig]]:
    stages = [("training", config.training)]
    return [("expert.pretraining", config.expert.pretraining), *stages] if config.expert else stages


def _text_encoder(config: TrainConfig) -> RememberingTextEncoder:
    encoder = RememberingTextEncoder(make_text_encoder(config.detector.text_encoder))
    if encoder.width != config.detector.text_width:
        raise RtvpError(
            f"detector.text_width: expected {encoder.width}, the width of {encoder.name}, "
            f"got {config.detector.text_width}"
        )
    return encoder


def _start(config: TrainConfig) -> tuple[RTVPDetector, dict[str, str]]:
    """The detector with the weights that training begins with, and the metadata of where they come from."""
    before: dict[str, str] = {}
    if config.start_from is None:
        detector = build_detector(config.detector)
        _load_encoder_weights(detector.image_encoder, config.image_encoder_weights)
    else:
        detector, found, before = load_detector(Path(config.start_from))
        _check_start(config, before)
        # How large the input usually is decides nothing about the shape of the weights.
        found = found.model_copy(update={"input_size": config.detector.input_size})
        added = {"contrast": config.detector.contrast, "presence": config.detector.presence}
        if more := {key: True for key, wanted in added.items() if wanted and not getattr(found, key)}:
            found = found.model_copy(update=more)
            detector = extended(detector, found)
        if found != config.detector:
            raise RtvpError(
                f"start_from: expected a checkpoint of the configured detector, and {config.start_from} is "
                "of another: give `detector` the values in the configuration of the checkpoint's run"
            )
    if config.training.thaw_beyond is not None:
        detector.image_encoder.thaw_beyond(config.training.thaw_beyond)
    return detector.train(), before  # a checkpoint comes in eval mode, with its batch statistics fixed


def _check_start(config: TrainConfig, before: Mapping[str, str]) -> None:
    """What the start was trained on must not be what this run takes for unseen."""
    if leaked := sorted(set(config.data.held_out) & set(trained_on(before))):
        raise RtvpError(
            f"data.held_out: expected sets that start_from {config.start_from} was not trained on, "
            f"got {', '.join(leaked)}"
        )
    split = config.data.split
    if split is not None and split.startswith("zero-shot") and before.get("split") != split:
        raise RtvpError(
            f"start_from: expected a checkpoint trained on {split} as well, as another one may have seen its "
            f"unseen names, got {config.start_from} of {before.get('split', 'no split')}"
        )


def _notes(config: TrainConfig, data: RunData, before: Mapping[str, str]) -> dict[str, str]:
    """Metadata of the checkpoint: what it was trained on, in this run and in those that it goes on from."""
    names = dict.fromkeys([*trained_on(before), *(labelled.name for labelled in data.train)])
    split = {} if config.data.split is None else {"split": config.data.split}
    return {"trained_on": ", ".join(names), **split}


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


def _expert_losses(module: nn.Module, batch: Batch, step: int) -> Losses:
    return module(batch)  # type: ignore[no-any-return]


def _write_json(path: Path, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
