"""Which names a training batch is asked about, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rtvp.types import Prompt


def sample_texts(rng: np.random.Generator, name: str, descriptions: Mapping[str, Sequence[str]]) -> Prompt:
    """One wording of ``name``: the name alone, with all its descriptions, or with one of them.

    Users write bare names as well as descriptions, so the model must meet both.
    """
    known = tuple(descriptions.get(name, ()))
    if not known or rng.random() < 0.6:
        return Prompt(name)
    if rng.random() < 0.5:
        return Prompt(name, known)
    return Prompt(name, (known[rng.integers(len(known))],))


def batch_vocabulary(
    rng: np.random.Generator,
    needed: Sequence[str],
    others: Sequence[str],
    max_negatives: int,
) -> list[str]:
    """The names of a batch: all ``needed`` ones, then up to ``max_negatives`` of the others.

    The order in which they are given does not matter: the same seed gives the same names.
    """
    first = sorted(set(needed))
    rest = sorted(set(others) - set(first))
    if len(rest) > max_negatives:
        rest = sorted(rng.choice(rest, size=max_negatives, replace=False).tolist())
    return first + rest
