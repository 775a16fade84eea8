"""Defect names and what they look like: the taxonomy's, for training and prompts."""

from __future__ import annotations

from functools import cache

from rtvp.mmio.taxonomy import taxonomy


@cache
def glossary() -> dict[str, tuple[str, ...]]:
    """Short visual descriptions by lower-case name."""
    return {name: tuple(category.looks) for name, category in taxonomy().categories.items()}
