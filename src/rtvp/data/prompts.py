"""What a person writes to say what to look for, read into prompts.

One entry is a name, or a name with other texts that mean the same::

    scratch
    oil stain: dark smear | shiny patch of oil
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from rtvp.errors import RtvpError
from rtvp.types import Prompt

MAX_ENTRY_CHARACTERS = 1_000
MAX_FILE_BYTES = 4 * 2**20  # thousands of full-length lines; a larger file is not a list of prompts
LINE_END = re.compile(r"\r\n|\r|\n")
# A line that starts with #, or what follows a # that has white space around it: "bolt #3" is a name.
COMMENT = re.compile(r"^\s*#.*|\s#(\s.*)?$")


def parse_prompts(text: str) -> tuple[Prompt, ...]:
    """Read a comma or newline separated list, as given to ``--prompts``; blank entries are passed over.

    A comma always separates: other texts that hold one belong in a file.

    Raises:
        RtvpError: no entry at all, a name that is empty or given twice, text that is not printable.
    """
    entries = re.split(f",|{LINE_END.pattern}", text)
    return _parse_entries(((f"prompts, entry {i}", entry) for i, entry in enumerate(entries, 1)), "prompts")


def read_prompts_file(path: Path) -> tuple[Prompt, ...]:
    """Read a UTF-8 file of one prompt a line, where ``#`` starts a comment; blank lines are passed over.

    Raises:
        RtvpError: the file cannot be read, is not UTF-8 text, has no entry, or a line of it is not an entry.
    """
    lines = enumerate(LINE_END.split(_read_text(path)), 1)
    entries = [(f"{path}, line {number}", COMMENT.sub("", line)) for number, line in lines]
    for where, entry in entries:
        # A list in one line is the likely mistake, and would silently be looked for as one long name.
        if "," in entry.partition(":")[0]:
            raise RtvpError(f"{where}: a comma in the name; write one prompt a line")
    return _parse_entries(entries, str(path))


def _parse_entries(entries: Iterable[tuple[str, str]], source: str) -> tuple[Prompt, ...]:
    """``entries`` are (where it stands, text); ``source`` names the whole."""
    prompts: list[Prompt] = []
    first_seen: dict[str, str] = {}
    for where, entry in entries:
        if not entry.strip():
            continue
        prompt = _parse_entry(entry, where)
        key = unicodedata.normalize("NFKC", prompt.name).casefold()
        if key in first_seen:
            raise RtvpError(
                f"{where}: the name {prompt.name!r} was given before, at {first_seen[key]}; keep one"
            )
        first_seen[key] = where
        prompts.append(prompt)
    if not prompts:
        raise RtvpError(f"{source}: expected at least one prompt such as 'scratch', got none")
    return tuple(prompts)


def _parse_entry(entry: str, where: str) -> Prompt:
    if len(entry) > MAX_ENTRY_CHARACTERS:
        raise RtvpError(f"{where}: {len(entry)} characters; expected at most {MAX_ENTRY_CHARACTERS}")
    for character in entry:
        # Cc: control characters, Cs: halves of a pair, which no encoding can write.
        if unicodedata.category(character) in ("Cc", "Cs") and character != "\t":
            raise RtvpError(f"{where}: expected plain text, got the character U+{ord(character):04X}")
    name, _, rest = entry.partition(":")
    name = " ".join(name.split())
    if not any(character.isalnum() for character in name):
        raise RtvpError(f"{where}: expected a name such as 'scratch', got {name!r}, without letter or digit")
    if "|" in name:
        raise RtvpError(f"{where}: expected 'name: text | text', got '|' in the name {name!r:.80}")
    texts = (" ".join(text.split()) for text in rest.split("|"))
    return Prompt(name, tuple(text for text in texts if text))


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be read for ever
            raise RtvpError(f"cannot read the prompts file {path}: it is not a file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RtvpError(f"cannot read the prompts file {path}: over {MAX_FILE_BYTES // 2**20} MiB")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise RtvpError(f"cannot read the prompts file {path}: {reason}") from error
    try:
        return content.decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        line = len(LINE_END.split(content[: error.start].decode("utf-8", errors="replace")))
        raise RtvpError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
