"""What a detector found, kept in a file: a long measurement that was stopped goes on where it was."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.measure.named import NamedDetector
from rtvp.types import Detections, Prompt

FORMAT = "rtvp detections 1"
COLUMNS = 6  # x1, y1, x2, y2, score, label


class KeptDetections:
    """A detector that writes down what it finds, and looks up what it wrote before.

    An image is known by its pixels and by what it was asked for, so that it does not matter in which order
    images come. The file is of JSON lines: first what made it, then one entry an image, written at once; of
    a process that was killed at most the last batch is lost. To be used as a context.

    Args:
        detector: what is asked where nothing is known yet.
        path: of the file; made if it is not there.
        settings: all that decides what ``detector`` finds, apart from images and prompts.

    Raises:
        RtvpError: the file is of other settings, is no such file, or cannot be written.
    """

    def __init__(self, detector: NamedDetector, path: Path, settings: Mapping[str, Any]) -> None:
        self.name = detector.name
        self._detector, self._path = detector, path
        header = json.dumps({"format": FORMAT, **settings}, sort_keys=True)
        try:
            self._found = self._read(header)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = path.open("a", encoding="utf-8", newline="\n")
            if self._file.tell() == 0:
                self._write(header)
        except OSError as error:
            raise RtvpError(f"cannot keep detections in {path}: {error.strerror or error}") from error

    def __enter__(self) -> KeptDetections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """See `NamedDetector`."""
        keys = [_key(image, prompts) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._found}
        if new:
            for key, found in zip(new, self._detector.detect([*new.values()], prompts), strict=True):
                self._found[key] = _pack(found)
                self._write(json.dumps([key, self._found[key]]))
        return [_unpack(self._found[key]) for key in keys]

    def _write(self, line: str) -> None:
        try:
            self._file.write(f"{line}\n")
            self._file.flush()
        except OSError as error:
            raise RtvpError(f"cannot write {self._path}: {error.strerror or error}") from error

    def _read(self, header: str) -> dict[str, str]:
        """What the file holds already; a last line that was cut short is taken off it."""
        if not self._path.exists():
            return {}
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        first, *entries = content[:whole].decode("utf-8", errors="replace").splitlines() or [""]
        # Of a file whose very first line was cut short nothing is lost; of any other that is not ours, all.
        if first != header and not (whole == 0 and header.startswith(content.decode("utf-8", "replace"))):
            raise RtvpError(
                f"{self._path}: expected detections of this model with these settings, got "
                f"{_told(first)}: choose another file, or remove it"
            )
        try:
            found = {str(key): str(packed) for key, packed in map(json.loads, entries)}
        except (ValueError, TypeError) as error:
            raise RtvpError(f"{self._path}: damaged ({error}): remove it") from error
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        return found


def _told(header: str) -> str:
    """Whose a file is, as far as its first line says."""
    try:
        content = json.loads(header)
        if content.pop("format") == FORMAT:
            return f"those of {json.dumps(content)}"
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return "a file that holds none"


def _key(image: NDArray[np.uint8], prompts: Sequence[Prompt]) -> str:
    about = json.dumps([list(image.shape), [prompt.all_texts for prompt in prompts]])
    digest = hashlib.sha256(about.encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _pack(found: Detections) -> str:
    """Base64 of a [N, 6] float32 array, least significant byte first."""
    rows = np.column_stack([found.boxes_xyxy, found.scores, found.labels])
    return base64.b64encode(rows.astype("<f4").tobytes()).decode()


def _unpack(packed: str) -> Detections:
    rows = np.frombuffer(base64.b64decode(packed), "<f4").reshape(-1, COLUMNS).astype(np.float32)
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
