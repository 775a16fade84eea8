"""Checkpoints that were exported once for another runtime, kept beside the fetched weights."""

from __future__ import annotations

from pathlib import Path

from rtvp.errors import RtvpError
from rtvp.files import sha256_of
from rtvp.models.weights import weights_home

# Goes up whenever the same checkpoint would give another file: cached ones are made anew.
EXPORT_VERSION = 2


def cached_export(checkpoint: Path) -> Path:
    """The checkpoint as float32 ``.onnx`` with text as an input; made when it is first asked for.

    Raises:
        RtvpError: as `rtvp.export.checkpoint.export_checkpoint`.
    """
    if not checkpoint.is_file():
        raise RtvpError(
            f"no checkpoint at {checkpoint}: expected a .safetensors file written by `rtvp train`"
        )
    path = weights_home() / "exported" / f"{sha256_of(checkpoint)}-{EXPORT_VERSION}.onnx"
    if not path.is_file():
        from rtvp.export.checkpoint import write_plain_export  # torch: whoever has the file goes without

        write_plain_export(checkpoint, path)
    return path
