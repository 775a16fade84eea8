"""From a checkpoint or an exported file to a detector that is ready."""

from __future__ import annotations

import os
from pathlib import Path

from rtvp.errors import RtvpError, UnreadableModelError
from rtvp.export.cache import cached_export
from rtvp.files import sha256_of
from rtvp.models.runtimes import (
    RUNTIMES,
    ExportedNetwork,
    encoder_of,
    import_onnxruntime,
    is_exported,
    open_exported,
)
from rtvp.models.text_encoder import EmbeddingCache, make_text_encoder
from rtvp.models.weights import SHIPPED_MODELS, find_checkpoint, weights_home
from rtvp.predict.detector import Detector

DEVICES = ("cpu", "cuda")
TORCH, TORCH_HALF = "torch", "torch-bf16"  # the runtimes of checkpoints


def load(
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    size: int | None = None,
    runtime: str | None = None,
) -> Detector:
    """A ready detector, without network access.

    Args:
        weights: a checkpoint written by ``rtvp train``, an ``.onnx`` or ``.xml`` written by ``rtvp export``,
            or the name of a model that comes with the package: ``rtvp-lite0`` (also if None), or ``open``,
            trained on nothing that forbids commercial use.
        device: ``cpu`` or ``cuda``.
        size: side of the network input, px, a multiple of 32; the model's own if None.
        runtime: ``torch``, ``torch-bf16`` (less exact, faster where the CPU computes in bfloat16), ``onnx``,
            ``openvino`` or ``openvino-bf16``; what fits the file, in float32, if None. A checkpoint is
            exported when another runtime is first asked for, and kept in the folder of the fetched weights.

    Raises:
        RtvpError: the file is missing or not one of RTVP, or an argument is wrong.
    """
    if device not in DEVICES:
        raise RtvpError(f"device: expected {' or '.join(DEVICES)}, got {device!r:.80}")
    if runtime not in (None, TORCH, TORCH_HALF, *RUNTIMES):
        known = ", ".join((TORCH, TORCH_HALF, *RUNTIMES))
        raise RtvpError(f"runtime: expected {known}, got {runtime!r:.80}")
    path = find_checkpoint(weights)
    if is_exported(path) or runtime in RUNTIMES:
        return _load_exported(path, device, size, runtime)
    return _load_checkpoint(path, device, size, half=runtime == TORCH_HALF)


def usual_runtime(weights: str | os.PathLike[str] | None, device: str) -> str | None:
    """Which runtime `rtvp detect` takes unless it is told: ``onnx`` for a model of the package, on a CPU.

    It finds the same as PyTorch in less time and half the memory, once the model is exported; that takes some
    seconds, and is kept.

    Returns:
        None, what fits the file, for other weights and devices, and where nothing can be exported or kept.
    """
    if device != "cpu" or (weights is not None and str(weights) not in SHIPPED_MODELS):
        return None
    try:
        import_onnxruntime()
        cached_export(find_checkpoint(weights))
    except RtvpError:  # what matters of it is said by `load`
        return None
    return "onnx"


def _load_checkpoint(path: Path, device: str, size: int | None, half: bool) -> Detector:
    # A second and 200 MB, which an exported model goes without.
    import torch

    from rtvp.models.build import load_detector, threshold_of
    from rtvp.models.fold import fold_batch_norms
    from rtvp.models.torch_network import TorchNetwork

    if device == "cuda" and not torch.cuda.is_available():
        raise RtvpError("device: cuda was asked for, but torch finds no usable GPU here; use cpu")
    module, config, metadata = load_detector(path)
    fold_batch_norms(module)
    # Channels last: a sixth faster on a CPU, the same numbers to rounding. The stubs lack the argument.
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Detector(
        TorchNetwork(module, device, half),
        config,
        make_text_encoder(config.text_encoder),
        threshold_of(metadata, path),
        name=metadata.get("name", path.stem),
        size=size,
        cache=EmbeddingCache(weights_home() / "embeddings"),
        digest=f"{sha256_of(path)} bfloat16" if half else sha256_of(path),  # its scores are others
    )


def _load_exported(path: Path, device: str, size: int | None, runtime: str | None) -> Detector:
    if device != "cpu":
        raise RtvpError(f"device: exported models run on the cpu, got {device}: take the checkpoint")
    network = open_exported(path, runtime) if is_exported(path) else _open_cached(path, runtime)
    facts, encoder = network.facts, encoder_of(network.facts)
    # Rows of the identity are as wide as the vocabulary is long, and not worth keeping.
    config = facts.config.model_copy(update={"text_width": encoder.width})
    cache = None if facts.vocabulary else EmbeddingCache(weights_home() / "embeddings")
    return Detector(
        network,
        config,
        encoder,
        facts.threshold,
        facts.name,
        size=size or facts.input_size,
        cache=cache,
        digest=facts.digest,
    )


def _open_cached(checkpoint: Path, runtime: str | None) -> ExportedNetwork:
    """The export that is kept of a checkpoint; made anew, once, where a disk has damaged it."""
    path = cached_export(checkpoint)
    try:
        return open_exported(path, runtime)
    except UnreadableModelError:
        path.unlink(missing_ok=True)
        return open_exported(cached_export(checkpoint), runtime)
