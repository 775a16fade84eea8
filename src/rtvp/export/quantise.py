"""An ONNX graph in 8-bit integers: post-training quantisation, calibrated on the user's own images."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rtvp.data.images import letterbox, read_image
from rtvp.export.graph import import_onnx, write_facts
from rtvp.models.exported import ExportFacts
from rtvp.models.runtimes import import_onnxruntime

Inputs = dict[str, NDArray[np.float32]]

CONVOLUTIONS = ("Conv", "ConvTranspose")
# Bounds that the quantiser takes into the range of the convolution before them.
BOUNDS = ("Clip", "Relu")
# What a step of eight bits would spoil: the picture itself, the scores that choose the cells of the visual
# prompt, and the last layers of the head.
IN_FLOAT = ("/conv_stem/", "/refiner/", "/classifiers")
LAST_OF_BOXES = re.compile(r"/box_branches\.\d+/box_branches\.\d+\.2/")


def calibration_inputs(
    images: Sequence[Path],
    facts: ExportFacts,
    text: Tensor | None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Inputs]:
    """What the graph sees of ``images``, one after the other; ``text`` [K, D] where it is an input.

    Args:
        images: files.
        facts: of the graph.
        text: embeddings to ask for; not read where there is a vocabulary.
        on_image: called with the images that are done, and all.

    Raises:
        RtvpError: an image cannot be read.
    """
    for done, path in enumerate(images):
        on_image(done, len(images))
        pixels, _ = letterbox(read_image(path), facts.input_size)
        inputs = {"images": pixels[None].astype(np.float32)}
        if not facts.vocabulary and text is not None:
            inputs["text"] = text.numpy()
        yield inputs
    on_image(len(images), len(images))


def quantise(source: Path, out: Path, inputs: Iterator[Inputs], facts: ExportFacts, outputs: bool) -> Path:
    """Write ``source`` with its convolutions in 8-bit integers (QDQ) to ``out``.

    Weights are int8 with a scale per output channel, activations uint8 with one scale and zero point per
    tensor, from the least and the greatest value that ``inputs`` bring about. One image is in memory at
    a time.

    Args:
        source: float32 graph of `write_onnx`.
        out: file of the result.
        inputs: of `calibration_inputs`.
        facts: for the metadata of the result.
        outputs: round the outputs of convolutions as well as their inputs. ONNX Runtime needs it to compute
            in integers; OpenVINO does not, and finds less with it.

    Returns:
        ``out``.

    Raises:
        RtvpError: a package is not installed, or an image cannot be read.
    """
    onnx = import_onnx()
    import_onnxruntime()
    from onnxruntime import quantization

    prepared = out.with_name(f"{out.name}.prepared")
    options = {} if outputs else {"OpTypesToExcludeOutputQuantization": list(CONVOLUTIONS)}
    logger = logging.getLogger()
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)  # it advises on the root logger
        quantization.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(out),
            _Reader(inputs),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=[*CONVOLUTIONS, *BOUNDS] if outputs else list(CONVOLUTIONS),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_nodes_in_float(onnx.load(str(prepared))),
            extra_options=options,
        )
    finally:
        logger.setLevel(level)
        prepared.unlink(missing_ok=True)
    write_facts(out, facts, onnx)
    return out


class _Reader:
    """An iterator as `quantize_static` wants it."""

    def __init__(self, inputs: Iterator[Inputs]) -> None:
        self._inputs = inputs

    def get_next(self) -> Inputs | None:
        return next(self._inputs, None)


def _nodes_in_float(model: Any) -> list[str]:
    convolutions = [node.name for node in model.graph.node if node.op_type in CONVOLUTIONS]
    return [
        name for name in convolutions if LAST_OF_BOXES.search(name) or any(part in name for part in IN_FLOAT)
    ]
