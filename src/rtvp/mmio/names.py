"""Defect names as words: how the same name is spelt, and which names share a word that means something."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")  # letters and digits of any script

# One spelling for both sides of the Atlantic.
_SPELLINGS = {
    "aluminum": "aluminium",
    "color": "colour",
    "colored": "coloured",
    "discoloration": "discolouration",
    "fiber": "fibre",
    "gray": "grey",
    "mold": "mould",
    "tire": "tyre",
}

# Forms that no rule of endings finds.
_PLURALS = {"feet": "foot", "knives": "knife", "leaves": "leaf", "teeth": "tooth"}
_STEMS = {"bent": "bend", "bitten": "bit", "broken": "break", "torn": "tear", "worn": "wear"}

# Words that are in a name for its grammar, or only say that it is a defect at all.
_GRAMMAR = "a an and as at by for from in into no not of off on or out the to under with without"
_DEFECT = "anomaly bad class defect defective fault faulty flaw kind type"
_EMPTY = frozenset(f"{_GRAMMAR} {_DEFECT}".split())

_SHORTEST_PART = 4  # letters: "hole" is a part of "blowhole"; "in" of "pin" would be an accident


def words(name: str) -> tuple[str, ...]:
    """The words of ``name`` in lower case and one spelling: ``Pin-Hole`` and ``PinHole`` are the same."""
    apart = _CAMEL.sub(" ", unicodedata.normalize("NFKC", name))
    return tuple(_SPELLINGS.get(word, word) for word in _WORD.findall(apart.casefold()))


def plain(name: str) -> str:
    """``name`` as a text encoder knows it best: words in lower case; one without any stands for itself."""
    return " ".join(words(name)) or name


def term(name: str) -> str:
    """What is equal for two names exactly if they differ in writing alone: case, signs, spelling, plural.

    A name without letters and digits stands for itself.
    """
    return " ".join(_singular(word) for word in words(name)) or name


def content_words(name: str) -> tuple[str, ...]:
    """The words of ``name`` that mean something, in the singular, sorted: ``hole`` and ``surface`` of
    ``holes on the surface``. A name of nothing but empty words keeps them all.
    """
    found = {_singular(word) for word in words(name)}
    return tuple(sorted(found - _EMPTY or found))


def shared_words(one: str, other: str) -> tuple[str, ...]:
    """What both names say: words of one stem (``crack``, ``cracked``), or one inside another (``pinhole``).

    Returns:
        The shorter form of each, sorted.
    """
    pairs = ((a, b) for a in content_words(one) for b in content_words(other))
    return tuple(
        sorted({min(a, b, key=lambda word: (len(word), word)) for a, b in pairs if _say_the_same(a, b)})
    )


def _say_the_same(one: str, other: str) -> bool:
    part, word = sorted((one, other), key=len)
    inside = len(part) >= _SHORTEST_PART and (word.startswith(part) or word.endswith(part))
    return inside or _stem(one) == _stem(other)


def _singular(word: str) -> str:
    """``word`` without the ending of a plural."""
    if word in _PLURALS:
        return _PLURALS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@cache
def _stem(word: str) -> str:
    """What ``crack``, ``cracked`` and ``cracking`` have in common; a key, not a word."""
    if word in _STEMS:
        return _STEMS[word]
    stem = word
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) >= 3 and re.search("[aeiouy]", base) and not word.endswith("eed"):
            doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
            stem = base[:-1] if doubled else base
            break
    return stem.removesuffix("e") if len(stem) > 3 else stem
