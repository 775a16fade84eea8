"""Reading official weight files into encoders: never unpickling code, never half."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a PyTorch file that holds nothing but named tensors.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        RtvpError: the file is missing, unreadable or damaged, or holds anything but named tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guesses about damaged files: the errors below are enough
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RtvpError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes surface as almost any exception of the unpickler
        raise RtvpError(
            f"{path}: expected a PyTorch file of plain tensors, got a damaged or foreign one; get it again"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise RtvpError(f"{path}: expected a plain state dict (names to tensors), got other contents")
    return dict(content)


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load ``tensors`` into ``module`` if names and shapes agree in full; otherwise leave it untouched.

    Args:
        module: what to fill.
        tensors: by the names of the module's state dict.
        source: the file they came from, for the error message.

    Raises:
        RtvpError: a tensor is missing, unknown, or of another shape.
    """
    expected = module.state_dict()
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} is unknown" for name in tensors if name not in expected]
    faults += [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if faults:
        raise RtvpError(
            f"{source} does not hold the weights of {type(module).__name__}: {faults[0]}"
            + (f" (and {len(faults) - 1} more differences)" if len(faults) > 1 else "")
            + "; use the official file"
        )
    module.load_state_dict(dict(tensors))
