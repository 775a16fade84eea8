"""From the PyTorch detector to one ONNX graph."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.detector import RTVPDetector
from rtvp.models.exported import METADATA_KEY, ExportFacts
from rtvp.types import DetectorOutput

OPSET = 17
# Rectangular, of several images and prompts: no side is mistaken for another or for a constant.
EXAMPLE_SHAPE, EXAMPLE_PROMPTS = (2, 3, 64, 96), 3
DYNAMIC = {"images": {0: "batch", 2: "height", 3: "width"}, "text": {0: "prompts"}}


class ExportGraph(nn.Module):
    """The detector with tensors alone going in and out, as `ExportFacts` describes.

    Args:
        detector: in eval mode.
        text: [K, D] embeddings of a vocabulary to build in; None makes the text an input.
    """

    text: Tensor | None

    def __init__(self, detector: RTVPDetector, text: Tensor | None) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("text", text)

    def forward(self, images: Tensor, text: Tensor | None = None) -> tuple[Tensor, ...]:
        """See the class."""
        output: DetectorOutput = self.detector(images, text if self.text is None else self.text)
        presence = [] if output.presence_logits is None else [output.presence_logits]
        return (output.boxes_xyxy, output.logits, *presence, *output.prompt_scores, *output.prompt_masks)


def write_onnx(path: Path, detector: RTVPDetector, facts: ExportFacts, text: Tensor | None = None) -> None:
    """Trace the detector into ``path``: batch, height, width and number of prompts stay free.

    Args:
        path: of the file.
        detector: in eval mode, batch norms folded.
        facts: go into the metadata.
        text: [K, D] float32 embeddings of the vocabulary, if there is one.

    Raises:
        RtvpError: the package onnx is not installed, or PyTorch cannot export.
    """
    onnx = import_onnx()
    graph = ExportGraph(detector, text).eval()
    inputs = {"images": torch.rand(EXAMPLE_SHAPE) * 255}
    if text is None:
        width = facts.config.text_width
        inputs["text"] = nn.functional.normalize(torch.randn(EXAMPLE_PROMPTS, width), dim=-1)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter(
                "ignore"
            )  # of its successor, and of constants that are left to the runtimes
            # By tracing: the successor needs a further package, and no branch here depends on the data.
            torch.onnx.export(
                graph,
                tuple(inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=list(facts.output_names),
                dynamic_axes={name: DYNAMIC[name] for name in inputs},
                opset_version=OPSET,
                dynamo=False,
            )
    except OSError:
        raise  # of the file, not of the model
    except Exception as error:  # other releases raise nearly anything
        reason = " ".join(str(error).split())[:200]
        raise RtvpError(f"PyTorch {torch.__version__} cannot export {facts.name} ({reason})") from error
    write_facts(path, facts, onnx)


def write_facts(path: Path, facts: ExportFacts, onnx: Any) -> None:
    """Put ``facts`` into the metadata of an ONNX file in place of what is there."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: facts.to_text()})
    onnx.save(model, str(path))


def import_onnx() -> Any:
    """The package onnx.

    Raises:
        RtvpError: it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise RtvpError("onnx is not installed: pip install onnx") from error
