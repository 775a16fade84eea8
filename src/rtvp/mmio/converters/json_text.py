"""Reads json item by item, with the line of each: faults are named, and large files need little memory."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class JsonMembers:
    """Iterates over the members of the object that a text holds: key, line and value.

    Args:
        text: json.
        arrays: keys whose value, if it is an array, is given item by item under the same key.

    Attributes:
        keys: those met so far, also of arrays without items.

    Raises:
        json.JSONDecodeError: the text is no whole json object; what came before was already given.
    """

    def __init__(self, text: str, arrays: Container[str] = ()) -> None:
        self.keys: set[str] = set()
        self._text = text
        self._arrays = arrays

    def __iter__(self) -> Iterator[tuple[str, int, Any]]:
        reader = _Reader(self._text)
        reader.expect("{", "an object")
        while not reader.take("}"):
            key = reader.value()
            if not isinstance(key, str):
                raise json.JSONDecodeError("Expecting a name in quotes", self._text, reader.position)
            self.keys.add(key)
            reader.expect(":", "':'")
            if key in self._arrays and reader.take("["):
                while not reader.take("]"):
                    yield key, reader.line(), reader.value()
                    reader.separate("]")
            else:
                yield key, reader.line(), reader.value()
            reader.separate("}")
        reader.end()


def read_items(text: str) -> Iterator[tuple[int, Any]]:
    """The items of the array that ``text`` holds, each with its line.

    Raises:
        json.JSONDecodeError: the text is no whole json array; what came before was already given.
    """
    reader = _Reader(text)
    reader.expect("[", "an array")
    while not reader.take("]"):
        yield reader.line(), reader.value()
        reader.separate("]")
    reader.end()


class _Reader:
    """A place in a json text; every method skips the white space in front of what it reads."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self._counted = (0, 1)  # a position and its line, to count on from

    def line(self) -> int:
        """The line of what comes next."""
        self._skip()
        position, line = self._counted
        self._counted = (self.position, line + self.text.count("\n", position, self.position))
        return self._counted[1]

    def take(self, sign: str) -> bool:
        """Whether ``sign`` comes next; if so it is passed."""
        self._skip()
        found = self.text.startswith(sign, self.position)
        self.position += found
        return found

    def expect(self, sign: str, what: str) -> None:
        if not self.take(sign):
            raise json.JSONDecodeError(f"Expecting {what}", self.text, self.position)

    def separate(self, end: str) -> None:
        """Pass the comma between items, or stop in front of ``end``."""
        if self.take(","):
            if self.take(end):
                raise json.JSONDecodeError("Illegal trailing comma", self.text, self.position)
            return
        self._skip()
        if not self.text.startswith(end, self.position):
            raise json.JSONDecodeError(f"Expecting ',' or '{end}'", self.text, self.position)

    def value(self) -> Any:
        self._skip()
        try:
            value, self.position = _DECODER.raw_decode(self.text, self.position)
        except json.JSONDecodeError:
            raise
        except RecursionError:
            raise json.JSONDecodeError("Nested too deeply", self.text, self.position) from None
        except ValueError as error:  # an integer of thousands of digits
            raise json.JSONDecodeError(str(error), self.text, self.position) from None
        return value

    def end(self) -> None:
        self._skip()
        if self.position < len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, self.position)

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
