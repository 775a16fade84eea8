"""Strict schemas of every configuration file; an unknown or ill-typed key is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rtvp.errors import RtvpError


class StrictModel(BaseModel):
    """Base of all schemas: no unknown keys, no silent conversion, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ImageEncoderConfig(StrictModel):
    """Which image encoder, and whether it learns."""

    name: str = "efficientnet_lite0"
    frozen: bool = True


class AdaptationConfig(StrictModel):
    """Expert-assisted domain adaptation, the decoder that makes the coarse visual prompt F^R (Eq. 1-3)."""

    enabled: bool = True
    hidden_channels: int = Field(default=64, ge=8)


class VisualPromptConfig(StrictModel):
    """Refined visual prompt (Eq. 4-6)."""

    enabled: bool = True
    patch_size: int = Field(default=32, ge=8, description="p of Eq. 6, pixels of the network input")
    keep: float = Field(default=0.25, gt=0, le=1, description="share of a patch's cells kept in a round")
    rounds: int = Field(default=1, ge=1, description="how often the selection is repeated")


class InteractionConfig(StrictModel):
    """Text-visual interaction in the neck (Eq. 7)."""

    enabled: bool = True
    heads: int = Field(default=4, ge=1)


class DetectorConfig(StrictModel):
    """Everything that decides the shape of an RTVP detector. Stored in its checkpoint."""

    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    text_encoder: str = Field(default="minilm", description="minilm, or clip:FOLDER_OR_HUB_NAME")
    text_width: int = Field(default=384, ge=1)
    channels: int = Field(default=96, ge=8)
    strides: tuple[int, ...] = Field(default=(8, 16, 32), description="levels of pyramid, prompt and neck")
    head_strides: tuple[int, ...] = Field(default=(8, 16, 32), description="levels the head predicts on")
    distance_bins: int = Field(default=16, ge=2, description="bins of the box distance distribution")
    adaptation: AdaptationConfig = AdaptationConfig()
    visual_prompt: VisualPromptConfig = VisualPromptConfig()
    interaction: InteractionConfig = InteractionConfig()
    input_size: int = Field(default=640, ge=32, multiple_of=32, description="default side of the input, px")

    @field_validator("strides", "head_strides", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _levels_fit(self) -> DetectorConfig:
        if not set(self.strides) <= {4, 8, 16, 32} or sorted(set(self.strides)) != list(self.strides):
            raise ValueError(f"strides: expected rising values out of 4, 8, 16, 32, got {self.strides}")
        if not self.head_strides or not set(self.head_strides) <= set(self.strides):
            raise ValueError(f"head_strides: expected some of strides {self.strides}, got {self.head_strides}")
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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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


