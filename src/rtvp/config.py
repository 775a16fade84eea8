"""Strict schemas of every configuration file; an unknown or ill-typed key is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rtvp.errors import RtvpError

DEFAULT_THRESHOLD = 0.25  # score, of a detector that names none


class StrictModel(BaseModel):
    """Base of all schemas: no unknown keys, no silent conversion, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


InputSide = Annotated[int, Field(ge=32, le=8192, multiple_of=32)]  # px


class ImageEncoderConfig(StrictModel):
    """Which image encoder, and whether it learns."""

    name: str = "efficientnet_lite0"
    frozen: bool = True


class AdaptationConfig(StrictModel):
    """Expert-assisted domain adaptation, the decoder that makes the coarse visual prompt F^R (Eq. 1-3)."""

    enabled: bool = True
    hidden_channels: int = Field(default=64, ge=8, le=1024)


class VisualPromptConfig(StrictModel):
    """Refined visual prompt (Eq. 4-6)."""

    enabled: bool = True
    patch_size: int = Field(default=32, ge=8, le=4096, description="p of Eq. 6, pixels of the network input")
    keep: float = Field(default=0.25, gt=0, le=1, description="share of a patch's cells kept in a round")
    rounds: int = Field(default=1, ge=1, le=64, description="how often the selection is repeated")


class InteractionConfig(StrictModel):
    """Text-visual interaction in the neck (Eq. 7)."""

    enabled: bool = True
    heads: int = Field(default=4, ge=1, le=64)


class DetectorConfig(StrictModel):
    """Everything that decides the shape of an RTVP detector. Stored in its checkpoint.

    Widths have upper bounds: a damaged checkpoint must not ask for more memory than a machine has.
    """

    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    text_encoder: str = Field(default="minilm", description="minilm, or clip:FOLDER_OR_HUB_NAME")
    text_width: int = Field(default=384, ge=1, le=4096)
    channels: int = Field(default=96, ge=8, le=1024)
    strides: tuple[int, ...] = Field(default=(8, 16, 32), description="levels of pyramid, prompt and neck")
    head_strides: tuple[int, ...] = Field(default=(8, 16, 32), description="levels the head predicts on")
    contrast: bool = Field(
        default=False, description="the pyramid also sees each channel relative to the rest of its picture"
    )
    distance_bins: int = Field(default=16, ge=2, le=64, description="bins of the box distance distribution")
    adaptation: AdaptationConfig = AdaptationConfig()
    visual_prompt: VisualPromptConfig = VisualPromptConfig()
    interaction: InteractionConfig = InteractionConfig()
    presence: bool = Field(
        default=False, description="scores also say how likely the image shows the prompt at all"
    )
    input_size: InputSide = Field(default=640, description="default side of the input, px")

    @field_validator("strides", "head_strides", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _levels_fit(self) -> DetectorConfig:
        for name, levels, allowed in (
            ("strides", self.strides, (4, 8, 16, 32)),
            ("head_strides", self.head_strides, self.strides),
        ):
            if not levels or not set(levels) <= set(allowed) or sorted(set(levels)) != list(levels):
                raise ValueError(f"{name}: expected rising values out of {allowed}, got {levels}")
        return self

    @model_validator(mode="after")
    def _channels_split(self) -> DetectorConfig:
        # The neck works on one half of the channels, its attention on one slice of that half a head.
        parts = 2 * self.interaction.heads if self.interaction.enabled else 2
        if self.channels % parts:
            raise ValueError(f"channels: expected a multiple of {parts} (2 x heads), got {self.channels}")
        return self


class LossWeights(StrictModel):
    """Weight of every term of the objective; 0 switches a term off."""

    classification: float = Field(default=0.5, ge=0)
    box: float = Field(default=7.5, ge=0)
    distance: float = Field(default=0.375, ge=0)
    expert: float = Field(default=1.0, ge=0, description="the expert's own detection terms, all of them")
    reconstruction: float = Field(default=0.5, ge=0, description="Eq. 3")
    prompt_box: float = Field(default=0.5, ge=0, description="CIoU of the auxiliary head")
    prompt_score: float = Field(default=1.0, ge=0, description="uncertainty score against cells in boxes")


class MaskingConfig(StrictModel):
    """Masking of the features before reconstruction (Eq. 1) and when to stop adapting (below Eq. 3)."""

    patch_cells: int = Field(default=2, ge=1)
    share: float = Field(default=0.25, ge=0, lt=1)
    all_pairs: bool = Field(default=False, description="read the double sum of Eq. 3 literally")
    stop_window: int = Field(default=500, ge=1, description="steps between two looks at the loss")
    stop_threshold: float = Field(default=0.002, ge=0, description="relative change that counts as converged")


class DataConfig(StrictModel):
    """What is trained on: the training side of a split of the benchmark, or named sources, or both."""

    split: Literal["closed", "zero-shot/category", "zero-shot/meaning", "zero-shot/scene"] | None = Field(
        default=None, description="of a build of the benchmark; its unseen names never reach training"
    )
    sources: tuple[str, ...] = Field(
        default=(), description="of the table of `rtvp.mmio`; with a split, empty takes all of its sources"
    )
    held_out: tuple[str, ...] = Field(default=(), description="never trained on; evaluated at the end")
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    split_seed: int = Field(
        default=0, description="of what is kept aside; the same in all runs of which one goes on from another"
    )
    synthetic_share: float = Field(default=0.15, ge=0, le=1)
    balance: float = Field(default=0.5, ge=0, description="sources are drawn with weight images ** balance")
    scale_range: tuple[float, float] = (0.7, 1.4)
    turn_share: float = Field(default=0.2, ge=0, le=1, description="of the pictures, turned by quarter turns")
    good_share: float = Field(
        default=0.0, ge=0, lt=1, description="least share of a batch that is good images"
    )
    mosaic_share: float = Field(default=0.0, ge=0, le=1, description="of the pictures, made of four")
    mosaic_until: float = Field(default=0.9, ge=0, le=1, description="share of the steps with mosaics")
    cut_paste_share: float = Field(
        default=0.0, ge=0, le=1, description="of the real pictures that get defects of other scenes pasted in"
    )
    painted_share: float = Field(
        default=0.0, ge=0, le=1, description="of the real pictures that get generated defects painted in"
    )
    tile_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="of the real pictures at least twice as large as the input that are seen in parts",
    )
    describe_share: float = Field(
        default=0.4, ge=0, le=1, description="of the names, given with descriptions"
    )
    synonym_share: float = Field(default=0.0, ge=0, le=1, description="of the names, said in other words")
    name_dropout: float = Field(
        default=0.0, ge=0, le=1, description="of the names that have descriptions, said by these alone"
    )
    attribute_words: bool = Field(default=True, description="ask for generated defects by adjectives, too")
    box_margin: float = Field(
        default=0.0,
        ge=0,
        le=0.05,
        description="around generated defects, of the longer side: boxes that people draw have one",
    )
    max_negatives: int = Field(default=16, ge=0)

    @field_validator("sources", "held_out", "scale_range", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _has_data(self) -> DataConfig:
        if self.split is None and not self.sources:
            raise ValueError("expected sources, or a split of the benchmark, got neither")
        return self

    @field_validator("scale_range")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("expected two rising numbers above 0")
        return value


class StageConfig(StrictModel):
    """One stage of training."""

    steps: int = Field(ge=1)
    batch_size: int = Field(default=16, ge=1)
    sizes: tuple[InputSide, ...] = Field(
        default=(384,), min_length=1, description="sides of the input, px; one is drawn a batch"
    )
    learning_rate: float = Field(default=2e-3, gt=0)
    encoder_learning_rate: float = Field(default=2e-4, gt=0, description="of what learns in an encoder")
    thaw_beyond: int | None = Field(
        default=None, description="stride, px; the blocks of the frozen encoder behind it learn in this stage"
    )
    weight_decay: float = Field(default=0.025, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    final_share: float = Field(default=0.01, ge=0, le=1, description="last learning rate / first (cosine)")
    clip_norm: float = Field(default=10.0, gt=0)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    cached_samples: int | None = Field(
        default=None,
        ge=1,
        description="train on this many augmented pictures, whose encoder features are computed once and "
        "kept on disk; with `thaw_beyond`, those that stay as they are. null: every picture is new",
    )

    @field_validator("sizes", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class ExpertConfig(StrictModel):
    """The expert CNN and how it is trained before it assists."""

    image_encoder: str = "efficientnet_lite0"
    pretraining: StageConfig
    shares_encoder: bool = Field(
        default=False,
        description="after pre-training the detector's frozen encoder takes the expert's encoder weights and "
        "both run it once; the expert's pyramid, neck and head go on learning",
    )
    learns_encoder: bool = Field(
        default=True,
        description="false: a shared encoder stays as it is from the start, and its features can be cached",
    )

    @model_validator(mode="after")
    def _frozen_is_shared(self) -> ExpertConfig:
        if not self.learns_encoder and not self.shares_encoder:
            raise ValueError("learns_encoder: expected true for an encoder of the expert's own, got false")
        return self


class TrainConfig(StrictModel):
    """A whole training run."""

    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: Literal["cpu", "cuda", "auto"] = "cpu"
    threads: int | None = Field(default=None, ge=1)
    detector: DetectorConfig = DetectorConfig()
    image_encoder_weights: str = Field(
        default="packaged", description="packaged (EfficientNet), or the path of the official mobile_sam.pt"
    )
    start_from: str | None = Field(
        default=None, description="path of an RTVP checkpoint, whose weights are trained on"
    )
    keep: float = Field(
        default=0.0, ge=0, le=1, description="share of the weights of start_from in the result (WiSE-FT)"
    )
    data: DataConfig
    expert: ExpertConfig | None = None
    training: StageConfig
    losses: LossWeights = LossWeights()
    masking: MaskingConfig = MaskingConfig()
    checkpoint_every: int = Field(default=200, ge=1, description="steps")

    @model_validator(mode="after")
    def _keeps_something(self) -> TrainConfig:
        if self.keep and self.start_from is None:
            raise ValueError(f"keep: expected start_from, whose weights are kept, got keep {self.keep} alone")
        return self


Schema = TypeVar("Schema", bound=StrictModel)


def load_config(path: Path, schema: type[Schema]) -> Schema:
    """Read a YAML file into ``schema``.

    Raises:
        RtvpError: the file is missing, is not YAML, or has a key or value that the schema does not allow.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RtvpError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except Exception as error:  # beside its own, PyYAML lets errors of any type out of ill-formed scalars
        raise RtvpError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from error
    return parse_config(content if content is not None else {}, schema, where=str(path))


def parse_config(content: Any, schema: type[Schema], where: str) -> Schema:
    """Check ``content`` (plain lists, dicts and scalars) against ``schema``; ``where`` names it in errors.

    Raises:
        RtvpError: a key or value that the schema does not allow.
    """
    try:
        # Files know lists, not tuples: strictness is about scalars and unknown keys.
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RtvpError(f"{where}: {key}: {first['msg']}, got {first.get('input')!r:.80}{more}") from error
