"""The expert as a file: a closed-set detector of its own, to be measured beside RTVP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rtvp.config import DetectorConfig, parse_config
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.models.expert import Expert
from rtvp.models.image_encoder import IMAGE_ENCODERS, ImageEncoder

FORMAT = "rtvp-expert-1"


class LoadedExpert(NamedTuple):
    """An expert in eval mode, the name of each of its classes, and the side of its input, px."""

    expert: Expert
    classes: tuple[str, ...]
    size: int


def build_expert(encoder: ImageEncoder, classes: int, config: DetectorConfig) -> Expert:
    """An expert whose levels compare with those of the detector that ``config`` describes."""
    return Expert(
        encoder, classes, config.channels, config.strides, config.head_strides, config.distance_bins
    )


def save_expert(
    path: Path, expert: Expert, classes: tuple[str, ...], encoder: str, config: DetectorConfig
) -> None:
    """Write an expert to a safetensors file; ``encoder`` is the name of its image encoder."""
    header = {
        "format": FORMAT,
        "encoder": encoder,
        "classes": json.dumps(classes),
        "config": json.dumps(config.model_dump(mode="json")),
    }
    tensors = {name: tensor.contiguous().cpu() for name, tensor in expert.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=header))


def load_expert(path: Path) -> LoadedExpert:
    """Read a file of `save_expert`.

    Raises:
        RtvpError: no such file, or not an expert.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RtvpError(f"{path}: expected the safetensors file of an expert ({error})") from error
    if header.get("format") != FORMAT:
        raise RtvpError(f"{path}: expected a file of format {FORMAT}, got {header.get('format', 'none')}")
    try:
        config = parse_config(json.loads(header["config"]), DetectorConfig, where=str(path))
        classes = tuple(json.loads(header["classes"]))
        expert = build_expert(IMAGE_ENCODERS[header["encoder"]](), len(classes), config)
        expert.load_state_dict(tensors)
    except (LookupError, ValueError, RuntimeError) as error:
        raise RtvpError(f"{path}: expected weights and header of one expert: {error}") from error
    return LoadedExpert(expert.eval(), classes, config.input_size)
