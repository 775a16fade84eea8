"""Reads a JSON file entry by entry, so that it may be large and its faults can be named by line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rtvp.errors import RtvpError
from rtvp.files import read_utf8
from rtvp.mmio.converters.json_text import JsonMembers


class Entry(NamedTuple):
    """A member of a JSON object, or one item of an array that is a member.

    Attributes:
        key: of the member.
        place: of the item in its array, from 0; 0 for a member that is no array.
        value: as ``json`` reads it.
        line: where it starts, from 1.
    """

    key: str
    place: int
    value: Any
    line: int


def read_json_entries(path: Path, arrays: Collection[str]) -> Iterator[Entry]:
    """The members of the JSON object in ``path``, ``arrays`` item by item: only the text is held as a whole.

    Raises:
        RtvpError: the file cannot be read, is not UTF-8, is no JSON object, or lacks one of ``arrays``; what
            stands before the fault has been handed out by then.
    """
    members = JsonMembers(read_utf8(path), arrays)
    places: Counter[str] = Counter()
    try:
        for key, line, value in members:
            yield Entry(key, places[key], value, line)
            places[key] += 1
    except json.JSONDecodeError as error:
        raise RtvpError(f"{path}:{error.lineno}: expected a whole JSON object: {error.msg}") from error
    if lacking := [key for key in arrays if key not in members.keys]:
        raise RtvpError(f"{path}: expected the lists {', '.join(arrays)}, found no {', '.join(lacking)}")
