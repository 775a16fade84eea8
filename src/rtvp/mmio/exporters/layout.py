"""What all exporters share: names of files that cannot collide or leave the folder, and copies of images."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from rtvp.errors import RtvpError
from rtvp.files import find_below, replacing, stays_below
from rtvp.mmio.coco_file import CocoFile

_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, as in names of files that are not UTF-8


def image_names(coco: CocoFile) -> list[PurePosixPath]:
    """Where each image lies below the folder of images: its file name, after its source if there are several.

    Raises:
        RtvpError: a name leaves the folder, two images have the same, or a name is not UTF-8.
    """
    for text in (*(item.key for item in coco.items), *coco.categories):
        if _SURROGATE.search(text):
            raise RtvpError(f"expected names that UTF-8 can hold, got {text!r}: rename it")
    several = len({item.source for item in coco.items}) > 1
    names = [PurePosixPath(item.key if several else item.file_name) for item in coco.items]
    for name in names:
        if not stays_below(str(name)):
            raise RtvpError(f"expected file names below the folder of the images, got {str(name)!r}")
    _refuse_equal(names, names)
    return names


def label_names(names: Sequence[PurePosixPath], suffix: str) -> list[PurePosixPath]:
    """``names`` with ``suffix`` for their own; label files are found by the image's name without its suffix.

    Raises:
        RtvpError: two images differ in nothing but their suffix.
    """
    labels = [name.with_suffix(suffix) for name in names]
    _refuse_equal(labels, names)
    return labels


def new_folder(out: Path) -> None:
    """Make sure that no older file lies in ``out``: a left label would be read as one of the export.

    Raises:
        RtvpError: it holds something, or is no folder.
    """
    try:
        if not out.exists() or not any(out.iterdir()):
            return
    except OSError as error:
        raise RtvpError(f"cannot write to {out}: {error.strerror or error}") from error
    raise RtvpError(f"expected a new or empty folder to export to, got {out} with files in it")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with plain line ends."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def copy_files(coco: CocoFile, images: Path | None, targets: Sequence[Path]) -> None:
    """Copy the image of each item to its target, byte by byte.

    Raises:
        RtvpError: no folder of images is given, or an image is not in it; nothing has been copied then.
    """
    if images is None:
        raise RtvpError("expected the folder of the images to copy them from, got none: give it")
    # The folder of all sets, or of the one set.
    sources = [find_below(images, (item.key.lstrip("/"), item.file_name)) for item in coco.items]
    for item, source in zip(coco.items, sources, strict=True):
        if source is None:
            raise RtvpError(
                f"expected the image {item.file_name} below {images}, found none: check the folder"
            )
    for source, target in zip(sources, targets, strict=True):
        if source is not None:
            with replacing(target) as temporary:
                shutil.copyfile(source, temporary)


def _refuse_equal(labels: Sequence[PurePosixPath], names: Sequence[PurePosixPath]) -> None:
    taken: dict[PurePosixPath, PurePosixPath] = {}
    for label, name in zip(labels, names, strict=True):
        if label in taken:
            raise RtvpError(
                f"expected images whose names tell them apart, got {taken[label]} and {name}: rename one"
            )
        taken[label] = name
