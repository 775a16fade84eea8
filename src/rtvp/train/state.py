"""Training state on disk: one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.train.optim import MovingAverage


def save_state(
    path: Path,
    module: nn.Module,
    average: MovingAverage,
    optimizer: torch.optim.Optimizer,
    notes: dict[str, Any],
) -> None:
    """All that a run needs to go on: weights, their average, the optimiser's moments, ``notes`` (JSON).

    Raises:
        RtvpError: the file cannot be written.
    """
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.values.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    # Copies, so that modules that share weights are stored like any others.
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    header = {"notes": json.dumps({**notes, "average_steps": average.steps})}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and notes of a file written by `save_state`.

    Raises:
        RtvpError: not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {})["notes"])
            return {name: file.get_tensor(name) for name in file.keys()}, notes  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RtvpError(
            f"{path} is not a training state of rtvp ({error}): remove it to start this stage afresh"
        ) from error


def restore_state(
    tensors: dict[str, Tensor],
    notes: dict[str, Any],
    module: nn.Module,
    average: MovingAverage,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put what `read_state` gave back into a freshly built run of the same configuration.

    Raises:
        RuntimeError, LookupError, ValueError: it is the state of another configuration.
    """
    module.load_state_dict(_part(tensors, "module."))
    # Into tensors that lie as the weights do in memory: the next step then rounds as it would have.
    for name, value in _part(tensors, "average.").items():
        average.values[name].copy_(value)
    average.steps = notes["average_steps"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _part(tensors, "optimizer.").items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        moment = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        moments.setdefault(int(index), {})[name] = moment
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
