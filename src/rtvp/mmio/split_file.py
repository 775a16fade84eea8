"""A split as a manifest: each image with its content hash and its side, and a digest that proves it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Side, Split

_LEFT_OUT: Literal["left out"] = "left out"


class _Row(StrictModel):
    source: str
    file_name: str
    sha256: str
    group: str
    split: Literal["train", "test", "left out"]
    reason: str | None = None


class _Manifest(StrictModel):
    name: str
    seen: tuple[str, ...] = Field(strict=False)
    unseen: tuple[str, ...] = Field(strict=False)
    unseen_scenes: tuple[str, ...] = Field(strict=False)
    max_cosine: float | None
    counts: dict[str, int]
    images: list[_Row]
    digest: str


def split_manifest(split: Split, items: Iterable[Item]) -> dict[str, Any]:
    """What is written of a split: plain JSON values, the images sorted by set and file name.

    Raises:
        RtvpError: ``items`` are not the images that were split.
    """
    by_key = {item.key: item for item in items}
    placed = {*split.sides, *split.left_out}
    if placed != set(by_key):
        first = min(placed ^ set(by_key))
        raise RtvpError(
            f"split {split.name}: expected the images that were split, but {first} is on one list only"
        )
    rows = []
    for item in sorted(by_key.values(), key=lambda item: (item.source, item.file_name)):
        row = {
            "source": item.source,
            "file_name": item.file_name,
            "sha256": item.sha256,
            "group": item.group,
            "split": split.sides.get(item.key, _LEFT_OUT),
        }
        if item.key in split.left_out:
            row["reason"] = split.left_out[item.key]
        rows.append(row)
    content: dict[str, Any] = {
        "name": split.name,
        "seen": list(split.seen),
        "unseen": list(split.unseen),
        "unseen_scenes": list(split.unseen_scenes),
        "max_cosine": split.max_cosine,
        "counts": {side: sum(row["split"] == side for row in rows) for side in ("train", "test", _LEFT_OUT)},
        "images": rows,
    }
    return {**content, "digest": _digest(content)}


def split_digest(split: Split, items: Iterable[Item]) -> str:
    """SHA-256 of the manifest: of what was split, how, and the content of the images.

    Raises:
        RtvpError: ``items`` are not the images that were split.
    """
    return str(split_manifest(split, items)["digest"])


def write_split(path: Path, split: Split, items: Iterable[Item]) -> None:
    """Write the manifest of a split as JSON, one image a line.

    Raises:
        RtvpError: ``items`` are not the images that were split, or the file cannot be written.
    """
    manifest = split_manifest(split, items)
    images = ",\n".join(f"  {_line(row)}" for row in manifest["images"])
    others = [f" {_line(key)}: {_line(value)}" for key, value in manifest.items() if key != "images"]
    with replacing(path) as temporary:
        text = ",\n".join([*others, f' "images": [\n{images}\n ]'])
        temporary.write_text(f"{{\n{text}\n}}\n", encoding="utf-8", newline="\n")


def read_split(path: Path) -> Split:
    """Read the manifest of a split.

    Raises:
        RtvpError: the file is missing, is no such manifest, or is not as it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RtvpError(f"cannot read the split {path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise RtvpError(
            f"{path}:{error.lineno}: expected the JSON of a split, got a fault: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RtvpError(f"{path}: expected the JSON of a split: {' '.join(str(error).split())}") from error
    manifest = parse_config(content, _Manifest, where=str(path))
    written = content.pop("digest")
    if written != _digest(content):
        raise RtvpError(
            f"{path}: expected the digest {_digest(content)}, got {written}: it was changed by hand"
        )
    sides: dict[str, Side] = {}
    left_out: dict[str, str] = {}
    for row in manifest.images:
        key = f"{row.source}/{row.file_name}"
        if row.split == "left out":
            left_out[key] = row.reason or ""
        else:
            sides[key] = row.split
    return Split(
        manifest.name,
        dict(sorted(sides.items())),
        dict(sorted(left_out.items())),
        manifest.seen,
        manifest.unseen,
        manifest.unseen_scenes,
        manifest.max_cosine,
    )


def _digest(content: Any) -> str:
    return hashlib.sha256(_line(content).encode()).hexdigest()


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
