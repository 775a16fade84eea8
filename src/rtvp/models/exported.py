"""What an exported file says of itself, beside its graph."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from rtvp.config import DetectorConfig, StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.types import Prompt

METADATA_KEY = "rtvp"  # of ONNX' metadata_props and OpenVINO's rt_info: all facts as one JSON text

Precision = Literal["float32", "bfloat16", "int8"]  # bfloat16: of a float32 file that a runtime runs so


class Vocabulary(StrictModel):
    """One prompt that is built in: its name and further texts."""

    name: str
    texts: tuple[str, ...] = Field(default=(), strict=False)


class ExportFacts(StrictModel):
    """Everything but the graph that it takes to run an exported file as its checkpoint would run.

    The graph takes ``images`` [B, 3, H, W] float32 RGB in 0..255, sides multiples of 32, and, without a
    vocabulary, ``text`` [K, D] float32 of unit norm. It gives ``boxes_xyxy`` [B, A, 4] in px of the input,
    ``logits`` [B, A, K], with presence ``presence_logits`` [B, K], and with a visual prompt
    ``prompt_scores_S`` and ``prompt_masks_S`` [B, 1, H/S, W/S] of each stride S.
    """

    format: Literal["rtvp-exported-1"] = "rtvp-exported-1"
    name: str = Field(description="of the model")
    config: DetectorConfig
    input_size: int = Field(ge=32, multiple_of=32, description="default side of the input, px")
    threshold: float = Field(ge=0, le=1)
    precision: Precision
    vocabulary: tuple[Vocabulary, ...] = Field(
        default=(), strict=False, description="prompts that are built in; none: text is an input"
    )
    pixel_mean: tuple[float, ...] = Field(strict=False, description="RGB in 0..255; the graph subtracts it")
    pixel_std: tuple[float, ...] = Field(strict=False, description="RGB in 0..255; the graph divides by it")
    pad_value: int = Field(description="grey of the padding at the right and the bottom, 0..255")
    licence: str
    trained_on: str
    checkpoint_sha256: str

    @property
    def digest(self) -> str:
        """Of the weights: that of the checkpoint, whose scores a float32 export gives again."""
        own = self.checkpoint_sha256
        return own if self.precision == "float32" else f"{own} {self.precision}"

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts that are built in."""
        return tuple(Prompt(entry.name, entry.texts) for entry in self.vocabulary)

    @property
    def prompt_levels(self) -> tuple[int, ...]:
        """Strides of the levels of the visual prompt, px; none where the model has no visual prompt."""
        return self.config.strides if self.config.visual_prompt.enabled else ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of the graph, in order."""
        kinds = ("prompt_scores", "prompt_masks")
        return (
            "boxes_xyxy",
            "logits",
            *(["presence_logits"] if self.config.presence else []),
            *(f"{kind}_{stride}" for kind in kinds for stride in self.prompt_levels),
        )

    def to_text(self) -> str:
        """As JSON, for the metadata of a file."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str | None, where: str) -> ExportFacts:
        """What `to_text` gave; ``where`` names the file in errors.

        Raises:
            RtvpError: there is none, or it is something else.
        """
        try:
            content = json.loads(text or "")
        except (ValueError, RecursionError) as error:
            raise RtvpError(f"{where}: expected a model that `rtvp export` wrote, got another one") from error
        return parse_config(content, cls, where=f"{where} (metadata)")
