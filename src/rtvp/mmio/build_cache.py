"""The slow steps of a build, each of which leaves its result on disk, so that no run does them twice.

A result is found again by the content that it was made of: the bytes of the files, what is known of the set,
and the code. Killing a build loses the steps that were under way, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

from rtvp.config import StrictModel
from rtvp.errors import RtvpError
from rtvp.files import replacing, sha256_of
from rtvp.mmio.coco_file import to_items, write_coco_file
from rtvp.mmio.fingerprint import Fingerprint, fingerprint
from rtvp.mmio.sources import load_source, source_table

CACHE_FOLDER = ".cache"
SOURCES_FOLDER = "sources"
CHUNK = 256  # images that are fingerprinted together


class SetRecord(StrictModel):
    """A set that was converted: what is not in its COCO file.

    Attributes:
        name: of the set.
        key: of what it was made of.
        sha256: of the COCO file.
        problems: how often each was met.
        broken: label files that are malformed, "file:line: what is wrong".
    """

    name: str
    key: str
    sha256: str
    problems: dict[str, int]
    broken: list[str]


def convert_set(root: Path, out: Path, name: str, masks: bool) -> SetRecord:
    """Leave ``OUT/sources/NAME.json`` and its record, unless they are there and nothing has changed.

    Raises:
        RtvpError: the set cannot be read, or a file not be written.
    """
    source = source_table()[name]
    folder = root / source.folder
    hashes = {path: sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    content = {path.relative_to(folder).as_posix(): value for path, value in hashes.items()}
    key = _digest([code_version(), name, source.model_dump(), masks, content])
    record_path = out / CACHE_FOLDER / "sets" / f"{name}.json"
    coco_path = out / SOURCES_FOLDER / f"{name}.json"
    known = _read_record(record_path)
    if known and known.key == key and coco_path.is_file() and sha256_of(coco_path) == known.sha256:
        return known
    conversion = load_source(root, name, masks=masks)
    items = to_items(conversion.images, name, folder, lambda path: hashes.get(path) or sha256_of(path))
    named = {annotation.name for item in items for annotation in item.annotations}
    write_coco_file(
        coco_path,
        items,
        sorted({*named, *source.categories}),
        info={
            "description": f"{name}: {source.scene}, as converted, before cleaning",
            "home_page": source.home_page,
            "licence": source.licence,
            "citation": source.citation,
        },
    )
    record = SetRecord(
        name=name,
        key=key,
        sha256=sha256_of(coco_path),
        problems=dict(conversion.problems),
        broken=list(conversion.broken),
    )
    with replacing(record_path) as temporary:
        temporary.write_text(record.model_dump_json(), encoding="utf-8")
    return record


def fingerprint_chunk(out: Path, folder: Path, images: Sequence[tuple[str, str]]) -> str:
    """Leave the fingerprints of some images of a set, unless they are there.

    Args:
        out: folder of the build.
        folder: of the set.
        images: file name and SHA-256 of each.

    Returns:
        Name of the file below the folder of fingerprints.

    Raises:
        RtvpError: the file cannot be written.
    """
    name = f"{_digest([code_version(), [sha256 for _, sha256 in images]])}.npz"
    path = _fingerprint_folder(out) / name
    if _load(path) is not None:
        return name
    known = [fingerprint(folder / file_name, sha256) for file_name, sha256 in images]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **_to_arrays(known))  # type: ignore[arg-type]  # its keywords are arrays
    return name


def read_fingerprints(out: Path, name: str, images: Sequence[tuple[str, str]]) -> list[Fingerprint]:
    """What :func:`fingerprint_chunk` left of ``images``, in their order."""
    arrays = _load(_fingerprint_folder(out) / name)
    if arrays is None:
        raise RtvpError(f"{_fingerprint_folder(out) / name} is gone or damaged: build again")
    return _from_arrays(arrays, [sha256 for _, sha256 in images])


def forget_others(out: Path, sets: Sequence[str], fingerprints: Sequence[str]) -> None:
    """Delete what the cache holds of other sets and images."""
    for folder, names in (
        (out / CACHE_FOLDER / "sets", {f"{name}.json" for name in sets}),
        (_fingerprint_folder(out), set(fingerprints)),
    ):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in names:
                path.unlink()


@cache
def code_version() -> str:
    """Tells apart what makes the results: a digest of this package and of the versions of the libraries."""
    package = Path(__file__).parent
    files = sorted(path for path in package.rglob("*") if path.suffix in {".py", ".yaml"})
    code = {path.relative_to(package).as_posix(): sha256_of(path) for path in files}
    return _digest([code, np.__version__, cv2.__version__, PIL.__version__])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_record(path: Path) -> SetRecord | None:
    try:
        return SetRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError):  # none yet, or one of another version
        return None


def _fingerprint_folder(out: Path) -> Path:
    return out / CACHE_FOLDER / "fingerprints"


def _to_arrays(known: Sequence[Fingerprint]) -> dict[str, NDArray[np.generic]]:
    sizes = [(one.readable, one.width, one.height, one.contrast) for one in known]
    readable = [one for one in known if one.readable]
    return {
        "sizes": np.array(sizes, dtype=np.int64).reshape(-1, 4),
        "hashes": np.array([one.hashes for one in readable], dtype=np.uint64),
        "thumbnails": np.frombuffer(b"".join(one.thumbnail for one in readable), dtype=np.uint8),
        "details": np.frombuffer(b"".join(one.detail for one in readable), dtype=np.uint8),
    }


def _from_arrays(arrays: Mapping[str, NDArray[np.generic]], hashes: Sequence[str]) -> list[Fingerprint]:
    count = len(arrays["hashes"])
    looks = zip(
        arrays["hashes"].tolist(),
        arrays["thumbnails"].reshape(max(count, 1), -1),
        arrays["details"].reshape(max(count, 1), -1),
        strict=False,
    )
    known = []
    for sha256, (readable, width, height, contrast) in zip(hashes, arrays["sizes"].tolist(), strict=True):
        if readable:
            layout, thumbnail, detail = next(looks)
            known.append(
                Fingerprint(
                    sha256,
                    True,
                    width,
                    height,
                    contrast,
                    tuple(layout),
                    thumbnail.tobytes(),
                    detail.tobytes(),
                )
            )
        else:
            known.append(Fingerprint(sha256, readable=False))
    return known


def _load(path: Path) -> dict[str, NDArray[np.generic]] | None:
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, BadZipFile):  # none yet, or damaged
        return None
