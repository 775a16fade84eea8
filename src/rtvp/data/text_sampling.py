"""Which names a training batch is asked about, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rtvp.mmio.names import term
from rtvp.types import Prompt

_key = cache(term)  # every step says the same few hundred texts


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How the names of a batch are chosen and said.

    Attributes:
        max_negatives: names a batch holds beyond those its images annotate.
        describe_share: of the names, given with descriptions: all of them or one, as often.
        synonym_share: of the names that have synonyms, said by one of these.
        name_dropout: of the names that have descriptions, said by these alone.
        seed: the words of a step are a function of (seed, step, the names needed) alone.
    """

    max_negatives: int = 16
    describe_share: float = 0.4
    synonym_share: float = 0.0
    name_dropout: float = 0.0
    seed: int = 0


def sample_prompts(
    rng: np.random.Generator,
    names: Sequence[str],
    descriptions: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Sequence[str]],
    settings: TextSettings,
) -> tuple[Prompt, ...]:
    """A wording of each name.

    Users write bare names, synonyms, and descriptions of what they have no name for: the model must meet all.
    No text is used for two names, nor one name as a word for another: the same embedding would have to be
    both right and wrong for a box.

    Args:
        rng: where chance comes from.
        names: K different names.
        descriptions: texts that describe a name.
        synonyms: other names of the same thing.
        settings: how often what is said.
    """
    taken = {_key(name) for name in names}
    prompts = []
    for name in names:
        described, called = (
            [text for text in texts.get(name, ()) if _key(text) not in taken]
            for texts in (descriptions, synonyms)
        )
        prompt = _wording(rng, name, described, called, settings)
        taken.update(_key(text) for text in prompt.all_texts)
        prompts.append(prompt)
    return tuple(prompts)


def _wording(
    rng: np.random.Generator,
    name: str,
    descriptions: Sequence[str],
    synonyms: Sequence[str],
    settings: TextSettings,
) -> Prompt:
    if synonyms and rng.random() < settings.synonym_share:
        name = synonyms[int(rng.integers(len(synonyms)))]
        descriptions = [text for text in descriptions if _key(text) != _key(name)]
    if not descriptions:
        return Prompt(name)
    alone = rng.random() < settings.name_dropout
    if not alone and rng.random() >= settings.describe_share:
        return Prompt(name)
    chosen = descriptions if rng.random() < 0.5 else [descriptions[int(rng.integers(len(descriptions)))]]
    return Prompt(chosen[0], tuple(chosen[1:])) if alone else Prompt(name, tuple(chosen))


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
