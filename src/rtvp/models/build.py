"""From a configuration or a checkpoint to a detector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rtvp.config import DEFAULT_THRESHOLD, DetectorConfig, parse_config
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.models.detector import RTVPDetector
from rtvp.models.eight_bit import from_eight_bits, to_eight_bits
from rtvp.models.feature_pyramid import LateralFeaturePyramid
from rtvp.models.image_encoder import IMAGE_ENCODERS

FORMAT = "rtvp-detector-1"


def build_detector(config: DetectorConfig) -> RTVPDetector:
    """A detector with random weights.

    Raises:
        RtvpError: an image encoder that does not exist, or strides that it does not have.
    """
    name = config.image_encoder.name
    if name not in IMAGE_ENCODERS:
        raise RtvpError(f"image_encoder.name: expected one of {', '.join(IMAGE_ENCODERS)}, got {name!r}")
    encoder = IMAGE_ENCODERS[name]()
    if config.image_encoder.frozen:
        encoder.freeze()
    return RTVPDetector(encoder, config)


def extended(detector: RTVPDetector, config: DetectorConfig) -> RTVPDetector:
    """The same detector with contrast or presence beside.

    Args:
        detector: built from ``config`` with ``contrast``, ``presence`` or both off.
        config: of the result.

    Returns:
        A detector that computes the same, in training mode: what contrast adds to the input has weight 0 at
        first, and presence is the best score.

    Raises:
        RtvpError: contrast for a pyramid other than one of lateral levels, each of which reads one map of the
            encoder.
    """
    wider = build_detector(config)
    weights = detector.state_dict()
    for name, tensor in wider.state_dict().items():
        known = weights.setdefault(name, tensor)
        if known.shape != tensor.shape:
            if not isinstance(detector.pyramid, LateralFeaturePyramid):
                kind = type(detector.pyramid).__name__
                raise RtvpError(
                    f"contrast can be added to a LateralFeaturePyramid, not to a {kind}: train anew"
                )
            weights[name] = torch.zeros_like(tensor)
            weights[name][tuple(slice(side) for side in known.shape)] = known
    wider.load_state_dict(weights)
    return wider


def save_detector(
    path: Path,
    detector: RTVPDetector,
    config: DetectorConfig,
    metadata: dict[str, str] | None = None,
    eight_bit: bool = False,
) -> None:
    """Write weights and configuration to a safetensors file, whole or not at all.

    Args:
        path: of the file.
        detector: whose weights are written, as float16.
        config: of the detector.
        metadata: goes into the header as well.
        eight_bit: large weights as 8-bit integers.

    Raises:
        RtvpError: the file cannot be written.
    """
    tensors = {
        name: _compact(tensor).contiguous().cpu()
        for name, tensor in detector.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if eight_bit:
        tensors = to_eight_bits(tensors)
    header = {**(metadata or {}), "format": FORMAT, "config": json.dumps(config.model_dump(mode="json"))}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=header))


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    half = tensor.half()
    # A large variance of a batch normalisation would become infinite: such a tensor keeps its type.
    return half if tensor.is_floating_point() and half.isfinite().all() else tensor


def load_detector(path: Path) -> tuple[RTVPDetector, DetectorConfig, dict[str, str]]:
    """Read a checkpoint of `save_detector`: the detector in eval mode, its configuration, its metadata.

    Raises:
        RtvpError: no such file, not a safetensors file, not an RTVP checkpoint, or weights that do not fit.
    """
    if not path.is_file():
        raise RtvpError(f"no checkpoint at {path}: expected a .safetensors file written by `rtvp train`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RtvpError(f"{path} is not a readable safetensors file ({error}): is it complete?") from error
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "none")
        raise RtvpError(f"{path}: expected a checkpoint of format {FORMAT}, got format {found}")
    try:
        content = json.loads(metadata["config"])
    except (KeyError, ValueError, RecursionError) as error:
        raise RtvpError(f"{path}: the configuration in the checkpoint is not readable ({error})") from error
    config = parse_config(content, DetectorConfig, where=f"{path} (configuration in the checkpoint)")
    detector = build_detector(config)
    _load_strictly(detector, {name: each.float() for name, each in from_eight_bits(stored).items()}, path)
    return detector.eval(), config, metadata


def threshold_of(metadata: dict[str, str], path: Path) -> float:
    """The score that a detection has to exceed, by the metadata of the checkpoint ``path``.

    Raises:
        RtvpError: it is not a number.
    """
    try:
        return float(metadata.get("threshold", DEFAULT_THRESHOLD))
    except ValueError as error:
        raise RtvpError(
            f"{path}: expected a number as threshold, got {metadata['threshold']!r:.80}"
        ) from error


def trained_on(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the sets that a checkpoint was trained on, by its metadata."""
    return tuple(name for name in metadata.get("trained_on", "").split(", ") if name)


def _load_strictly(detector: RTVPDetector, tensors: dict[str, torch.Tensor], path: Path) -> None:
    expected = {k: v for k, v in detector.state_dict().items() if not k.endswith("num_batches_tracked")}
    wrong = sorted(set(expected) ^ set(tensors)) or sorted(
        name for name in expected if expected[name].shape != tensors[name].shape
    )
    if wrong:
        raise RtvpError(
            f"{path}: {len(wrong)} weights do not fit the model that its configuration describes, "
            f"first {wrong[0]}: the file was changed or written by another version"
        )
    damaged = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if damaged:
        raise RtvpError(
            f"{path}: expected finite weights, got NaN or infinity in {damaged[0]}: fetch it again"
        )
    detector.load_state_dict(tensors, strict=False)
