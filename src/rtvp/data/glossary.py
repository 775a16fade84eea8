"""What defects are called and how they look: the taxonomy's words, for training and prompts.

Nothing may be said in training that gives away an unseen name: functions here take the names that are
excluded, and leave out whatever says one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache

from rtvp.data.synthetic import DESCRIPTIONS
from rtvp.data.training_sample import GENERIC_NAME
from rtvp.mmio.names import term
from rtvp.mmio.taxonomy import taxonomy

Words = frozenset[str]  # of a name, in the singular and one spelling


def forbidden_words(excluded: Iterable[str]) -> tuple[Words, ...]:
    """The words of each excluded name and of each of its synonyms, shortest first.

    The generic name, which the taxonomy has as a synonym of some categories, says nothing about any.
    """
    categories = taxonomy().categories
    texts = {
        text for name in excluded for text in (categories[name].terms if name in categories else (name,))
    }
    found = {frozenset(term(text).split()) for text in texts} - {frozenset({GENERIC_NAME})}
    return tuple(sorted(found, key=lambda words: (len(words), sorted(words))))


def says(text: str, forbidden: Iterable[Words]) -> bool:
    """Whether ``text`` holds all words of one of the ``forbidden`` names, in any order or way of writing."""
    words = frozenset(term(text).split())
    return any(name <= words for name in forbidden)


@cache
def glossary() -> dict[str, tuple[str, ...]]:
    """Short visual descriptions by lower-case name."""
    return {name: tuple(category.looks) for name, category in taxonomy().categories.items()}


def descriptions(excluded: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Short visual descriptions of generated and real defects, by name, to train with."""
    return _sayable({**DESCRIPTIONS, **glossary()}, excluded)


def synonyms(excluded: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Other names of the same thing, by name, to train with; not those that several categories claim."""
    categories = taxonomy().categories.values()
    claims = Counter(key for category in categories for key in {term(text) for text in category.terms})
    own = {
        category.name: tuple(
            text
            for text in category.synonyms
            if claims[term(text)] == 1 and term(text) != term(category.name)
        )
        for category in categories
    }
    return _sayable(own, excluded)


def _sayable(texts: Mapping[str, Iterable[str]], excluded: Collection[str]) -> dict[str, tuple[str, ...]]:
    forbidden = forbidden_words(excluded)
    left = {
        name: tuple(text for text in own if not says(text, forbidden))
        for name, own in texts.items()
        if name not in excluded
    }
    return {name: own for name, own in left.items() if own}
