"""From a checkpoint to an exported file, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from rtvp.config import DetectorConfig
from rtvp.data.images import PAD_VALUE
from rtvp.errors import RtvpError
from rtvp.export.graph import write_onnx
from rtvp.export.quantise import calibration_inputs, quantise
from rtvp.files import replacing, sha256_of
from rtvp.models.build import load_detector, threshold_of
from rtvp.models.detector import RTVPDetector
from rtvp.models.exported import METADATA_KEY, ExportFacts, Vocabulary
from rtvp.models.fold import fold_batch_norms
from rtvp.models.runtimes import import_openvino, is_exported
from rtvp.models.text_encoder import EmbeddingCache, VocabularyEncoder, embed_prompts, make_text_encoder
from rtvp.models.weights import list_weights, weights_home
from rtvp.types import Prompt

Format: TypeAlias = Literal["onnx", "openvino"]
SUFFIX_OF: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml"}


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    format: Format,
    *,
    vocabulary: Sequence[Prompt] = (),
    calibration: Sequence[Path] = (),
    asked: Sequence[Prompt] = (),
    size: int | None = None,
    on_calibrated: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[Path], None] = lambda _: None,
) -> ExportFacts:
    """Write a checkpoint as ``.onnx``, or as OpenVINO's ``.xml`` with a ``.bin`` beside it.

    Args:
        checkpoint: of a detector.
        out: the file; its suffix has to fit ``format``.
        format: ``onnx`` or ``openvino``.
        vocabulary: prompts to build in; none makes the text embeddings an input.
        calibration: images to calibrate 8-bit integers on; none leaves float32.
        asked: what the images are asked for while they calibrate; the vocabulary if there is one.
        size: default side of the input, px, a multiple of 32; the checkpoint's own if None.
        on_calibrated: called after each calibration image with the number that is done, and of all.
        check: called with the finished file before it takes its name; what it raises leaves no file.

    Returns:
        What the file says of itself.

    Raises:
        RtvpError: an argument is wrong, a package is missing, or a file cannot be read or written.
    """
    if format not in SUFFIX_OF:
        raise RtvpError(f"format: expected {' or '.join(SUFFIX_OF)}, got {format!r:.80}")
    if out.suffix.lower() != SUFFIX_OF[format]:
        raise RtvpError(f"format {format}: expected a file named *{SUFFIX_OF[format]}, got {out}")
    if size is not None and (size < 32 or size % 32):
        raise RtvpError(f"size: expected a positive multiple of 32, got {size}")
    detector, config, facts = read_checkpoint(checkpoint)
    facts = facts.model_copy(
        update={
            "vocabulary": tuple(Vocabulary(name=prompt.name, texts=prompt.texts) for prompt in vocabulary),
            "input_size": size or facts.input_size,
            "precision": "int8" if calibration else "float32",
        }
    )
    if vocabulary:
        VocabularyEncoder(vocabulary)  # raises where two prompts share a text
    text = embed(vocabulary, config) if vocabulary else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            graph = Path(folder) / "graph.onnx"
            write_onnx(graph, detector, facts, text)
            if calibration:
                given = None if vocabulary else embed(asked, config)
                inputs = calibration_inputs(calibration, facts, given, on_calibrated)
                eight_bit = Path(folder) / "quantised.onnx"
                graph = quantise(graph, eight_bit, inputs, facts, outputs=format == "onnx")
            built = Path(folder) / "built" / out.name
            built.parent.mkdir()
            if format == "openvino":
                _write_openvino(graph, built, facts)
            else:
                graph.replace(built)
            check(built)
            # The .xml last: it is what a reader looks for.
            for file in sorted(built.parent.iterdir(), key=lambda file: file.suffix.lower() == ".xml"):
                file.replace(out.with_name(file.name))
    except OSError as error:
        raise RtvpError(f"cannot write {out}: {error.strerror or error}") from error
    return facts


def write_plain_export(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint as float32 ``.onnx`` with text as an input.

    Raises:
        RtvpError: as `export_checkpoint`.
    """
    detector, _, facts = read_checkpoint(checkpoint)
    with replacing(out) as temporary:
        write_onnx(temporary, detector, facts)


def read_checkpoint(path: Path) -> tuple[RTVPDetector, DetectorConfig, ExportFacts]:
    """The detector, ready to export, and what a float32 export with text as an input says of it.

    Raises:
        RtvpError: not a checkpoint of RTVP.
    """
    if is_exported(path):
        raise RtvpError(f"{path} is exported already: expected the checkpoint, a .safetensors file")
    detector, config, metadata = load_detector(path)
    fold_batch_norms(detector)
    digest = sha256_of(path)
    licences = {weight.sha256: weight.licence for weight in list_weights()}
    encoder = detector.image_encoder
    facts = ExportFacts(
        name=metadata.get("name", path.stem),
        config=config,
        input_size=config.input_size,
        threshold=threshold_of(metadata, path),
        precision="float32",
        pixel_mean=tuple(encoder.pixel_mean.flatten().tolist()),
        pixel_std=tuple(encoder.pixel_std.flatten().tolist()),
        pad_value=PAD_VALUE,
        licence=metadata.get("licence", licences.get(digest, "not stated")),
        trained_on=metadata.get("trained_on", "not stated"),
        checkpoint_sha256=digest,
    )
    return detector, config, facts


def embed(prompts: Sequence[Prompt], config: DetectorConfig) -> Tensor:
    """[K, D] float32 by the text encoder of ``config``."""
    cache = EmbeddingCache(weights_home() / "embeddings")
    return torch.from_numpy(embed_prompts(prompts, make_text_encoder(config.text_encoder), cache))


def _write_openvino(graph: Path, path: Path, facts: ExportFacts) -> None:
    openvino = import_openvino()
    model = openvino.Core().read_model(str(graph))
    model.set_rt_info(facts.to_text(), METADATA_KEY)
    openvino.save_model(model, str(path), compress_to_fp16=False)
