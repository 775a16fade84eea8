"""One file with all that a line needs: the model, its prompts and thresholds, and the hash of each part."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.files import replacing, sha256_of
from rtvp.models.weights import weights_home

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 2**20  # bytes
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"  # of a part: no folders, so none that leads out of one


class Part(StrictModel):
    """One file of a bundle."""

    name: str = Field(pattern=NAME, max_length=200)
    size: int = Field(ge=0, le=2**31)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(StrictModel):
    """What a bundle holds."""

    format: Literal["rtvp-bundle-1"] = "rtvp-bundle-1"
    weights: str = Field(description="the part that is the model")
    runtime: str
    size: int | None = Field(description="side of the input, px; the model's own if null")
    prompts: str = Field(description="as for `rtvp detect`; empty if none are fixed")
    calibration: str | None = Field(description="the part that holds the thresholds")
    licence: str
    trained_on: str
    parts: tuple[Part, ...] = Field(strict=False)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose parts are checked and lie on the disk, in ``folder``."""

    manifest: Manifest
    folder: Path

    @property
    def weights(self) -> Path:
        """The model."""
        return self.folder / self.manifest.weights

    @property
    def calibration(self) -> Path | None:
        """The thresholds, if there are any."""
        return None if self.manifest.calibration is None else self.folder / self.manifest.calibration


def parts_of(files: Mapping[str, Path]) -> tuple[Part, ...]:
    """What the manifest says of ``files``, by the names that they get.

    Raises:
        RtvpError: a file cannot be read.
    """
    try:
        return tuple(
            Part(name=name, size=file.stat().st_size, sha256=sha256_of(file)) for name, file in files.items()
        )
    except OSError as error:
        raise RtvpError(f"cannot read {error.filename}: {error.strerror or error}") from error


def write_bundle(out: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Write ``files``, the parts of ``manifest`` by name, to a zip; whole or not at all.

    Raises:
        RtvpError: a file cannot be read, or the zip cannot be written.
    """
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n")
        for name, file in files.items():
            archive.write(file, name)


def open_bundle(path: Path) -> Bundle:
    """Check a bundle, and unpack it into the folder of the fetched weights unless it lies there.

    Raises:
        RtvpError: it is missing, no bundle, or a part of it is not what the manifest says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive, path)
            folder = weights_home() / "bundles" / sha256_of(path)
            for part in manifest.parts:
                _unpack(archive, part, folder / part.name, path)
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise RtvpError(f"{path}: expected a bundle that `rtvp bundle` wrote ({error})") from error
    return Bundle(manifest, folder)


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    names = archive.namelist()
    if MANIFEST not in names or archive.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
        raise RtvpError(f"{path}: expected a bundle that `rtvp bundle` wrote, found no {MANIFEST} in it")
    try:
        content = json.loads(archive.read(MANIFEST))
    except (ValueError, RecursionError) as error:
        raise RtvpError(f"{path}: {MANIFEST} is not JSON ({error})") from error
    manifest = parse_config(content, Manifest, where=f"{path} ({MANIFEST})")
    known = [MANIFEST, *(part.name for part in manifest.parts)]
    if sorted(names) != sorted(known):
        odd = sorted(set(names) ^ set(known)) or ["a name twice"]
        raise RtvpError(f"{path}: its parts are not those of its manifest, first {odd[0]!r:.80}")
    for name in filter(None, (manifest.weights, manifest.calibration)):
        if name not in known:
            raise RtvpError(f"{path}: the manifest names {name!r:.80}, which is no part of it")
    return manifest


def _unpack(archive: zipfile.ZipFile, part: Part, target: Path, path: Path) -> None:
    if target.is_file() and target.stat().st_size == part.size and sha256_of(target) == part.sha256:
        return
    with replacing(target) as temporary:
        if archive.getinfo(part.name).file_size == part.size:  # what is larger is not unpacked at all
            with archive.open(part.name) as source, temporary.open("wb") as unpacked:
                shutil.copyfileobj(source, unpacked)
        if not temporary.is_file() or sha256_of(temporary) != part.sha256:
            raise RtvpError(f"{path}: {part.name} is not what its manifest says: get the bundle again")
