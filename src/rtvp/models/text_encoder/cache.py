"""Text embeddings on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rtvp.models.text_encoder.base import TextEncoder
from rtvp.types import Floats

UNIT_NORM_TOLERANCE = 1e-3


class EmbeddingCache:
    """One small safetensors file per encoder, version and text.

    A cache is a convenience: a folder that is missing, full or read-only, or an entry that is damaged, costs
    time and never fails. Entries are written to a temporary name and renamed, so any number of processes may
    share a folder.

    Args:
        folder: where the files go; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, encoder: TextEncoder, text: str) -> Floats | None:
        """The embedding [width] float32 of ``text`` by ``encoder``, or None where there is no sound one."""
        try:
            embedding: Floats = load(self._path(encoder, text).read_bytes())["embedding"]
        except (OSError, SafetensorError, KeyError):
            return None
        if embedding.shape != (encoder.width,) or embedding.dtype != np.float32:
            return None
        # Also false for a NaN: flipped bits show in the norm.
        return embedding if abs(float(np.linalg.norm(embedding)) - 1) < UNIT_NORM_TOLERANCE else None

    def put(self, encoder: TextEncoder, text: str, embedding: Floats) -> None:
        """Keep ``embedding`` [width] float32; does nothing where the folder cannot be written."""
        path = self._path(encoder, text)
        # The text is for a person who looks into the folder; only the file name is ever matched.
        content = save({"embedding": np.ascontiguousarray(embedding)}, {"text": text})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=f"{path.name}.", suffix=".tmp")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)

    def _path(self, encoder: TextEncoder, text: str) -> Path:
        # NUL cannot be part of a name or version, so no two keys run together.
        key = f"{encoder.name}\0{encoder.version}\0{text}"
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
