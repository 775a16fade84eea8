"""Files of a run: written to a temporary name first, so that what bears a final name is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from rtvp.data.images import RGBArray
from rtvp.errors import RtvpError
from rtvp.files import replacing

EXPLAIN_ENDING = "_explain"
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe")
JPEG_QUALITY = 92
MAX_JPEG_SIDE = 65_500  # of the encoder, px
PNG_COMPRESSION = 1  # of 9: a tenth of the time of the default for a few per cent more bytes


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON (ASCII, so that any reader takes it)."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


@contextmanager
def json_list(path: Path) -> Iterator[Callable[[Any], None]]:
    """A function that appends an entry to a JSON list on disk, however long; complete when the block ends."""
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        before = "[\n"

        def append(entry: Any) -> None:
            nonlocal before
            file.write(before + json.dumps(entry))
            before = ",\n"

        yield append
        file.write("[]\n" if before == "[\n" else "\n]\n")
        file.close()  # Windows renames only closed files


def write_picture(path: Path, image: RGBArray) -> None:
    """Write [H, W, 3] uint8 RGB as the suffix of ``path`` says: a JPEG, or else a PNG.

    Raises:
        RtvpError: the suffix is of neither, a JPEG cannot be that large, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix in JPEG_SUFFIXES:
        if max(image.shape) > MAX_JPEG_SIDE:
            raise RtvpError(f"cannot write {path}: a JPEG has at most {MAX_JPEG_SIDE} px a side; take .png")
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    elif suffix == ".png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    else:
        raise RtvpError(f"cannot write {path}: expected a name that ends in .png or .jpg")
    _, content = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    with replacing(path) as temporary:
        temporary.write_bytes(content.tobytes())


def picture_names(images: Sequence[Path]) -> list[Path]:
    """Where each image's annotated picture goes, below the output folder.

    The folders below the deepest common one are kept. A name is numbered where it, or that of its explanation
    (`explain_name`), is taken: by ``a.jpg`` beside ``a.png``, say. Upper and lower case count as the same.
    """
    taken: set[str] = set()
    names = []
    for image in _below_common_folder(images):
        stem, number = image.with_suffix(""), 1
        while {_key(stem), _key(stem) + EXPLAIN_ENDING} & taken:
            number += 1
            stem = image.with_name(f"{image.stem}_{number}")
        taken |= {_key(stem), _key(stem) + EXPLAIN_ENDING}
        names.append(
            stem.with_name(stem.name + (".jpg" if image.suffix.lower() in JPEG_SUFFIXES else ".png"))
        )
    return names


def explain_name(picture: Path) -> Path:
    """Name of the heat map that belongs to an annotated picture."""
    return picture.with_name(f"{picture.stem}{EXPLAIN_ENDING}.png")


def check_folder(folder: Path) -> None:
    """Make sure that ``folder`` can be written to, without writing.

    Raises:
        RtvpError: it is a file, lies below one, or is closed to this user.
    """
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise RtvpError(f"cannot write to {folder}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RtvpError(f"cannot write to {folder}: no permission to write in {existing}")


def _below_common_folder(images: Sequence[Path]) -> list[Path]:
    # Unlike Path.resolve this keeps links: a picture is named as its image was.
    absolute = [Path(os.path.abspath(image)) for image in images]  # noqa: PTH100
    try:
        common = os.path.commonpath([image.parent for image in absolute])
    except ValueError:  # none, or on several drives
        return [Path(image.name) for image in absolute]
    return [image.relative_to(common) for image in absolute]


def _key(stem: Path) -> str:
    return stem.as_posix().casefold()
