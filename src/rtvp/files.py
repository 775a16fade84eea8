"""Files: written whole or not at all, read as UTF-8, named without leaving their folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from rtvp.errors import RtvpError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes that name when the block ends well, else it is removed.

    Raises:
        RtvpError: the folder or the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise RtvpError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def stays_below(name: str) -> bool:
    """Whether ``name``, as a label file has it, is a relative path that cannot leave its folder."""
    parts = name.replace("\\", "/").split("/")
    return (
        bool(name.strip())
        and "\0" not in name
        and ".." not in parts
        and not PurePosixPath(name).is_absolute()
        and not PureWindowsPath(name).anchor
    )


def find_below(root: Path, names: Iterable[str]) -> Path | None:
    """The first of ``names`` that is a file below ``root``; links that leave it do not count."""
    real_root = root.resolve()
    for name in names:
        path = root / name
        try:
            if path.is_file() and path.resolve().is_relative_to(real_root):
                return path
        except (OSError, ValueError, RuntimeError):  # a name that no file can have, links in a circle
            continue
    return None


def read_utf8(path: Path) -> str:
    """The text of a file.

    Raises:
        RtvpError: it cannot be read, or is not UTF-8.
    """
    if not path.is_file():  # also keeps pipes and devices from being waited for
        raise RtvpError(f"cannot read {path}: {'it is a folder' if path.is_dir() else 'no such file'}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RtvpError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RtvpError(
            f"{path}:{line}: expected UTF-8 text, got the byte 0x{content[error.start]:02x}: save it as UTF-8"
        ) from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
