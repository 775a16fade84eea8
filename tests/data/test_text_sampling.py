from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.data.text_sampling import TextSettings, batch_vocabulary, sample_prompts
from rtvp.mmio.names import term
from rtvp.types import Prompt

NAMES = st.lists(st.text("abcd ä", min_size=1, max_size=4), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), NAMES, NAMES, st.integers(0, 8))
def test_vocabulary_holds_the_needed_names_and_few_others(
    seed: int, needed: list[str], others: list[str], most: int
) -> None:
    names = batch_vocabulary(np.random.default_rng(seed), needed, others, most)
    wanted, rest = set(needed), set(others) - set(needed)
    assert len(names) == len(set(names)), "a name twice would be two columns of one thing"
    assert names[: len(wanted)] == sorted(wanted)
    assert set(names[len(wanted) :]) <= rest
    assert len(names) - len(wanted) == min(most, len(rest))


def test_vocabulary_depends_on_the_seed_alone() -> None:
    others = [f"name {i}" for i in range(40)]

    def draw(seed: int, others: list[str]) -> list[str]:
        return batch_vocabulary(np.random.default_rng(seed), ["b", "a"], others, 5)

    assert draw(3, others) == draw(3, others[::-1])
    assert draw(3, others) != draw(4, others)
    drawn = {name for seed in range(60) for name in draw(seed, others)}
    assert drawn == {"a", "b", *others}, "every other name gets its turn"


LOOKS = {"scratch": ("thin line", "shallow groove")}
OTHERS = {"scratch": ("scrape", "rub mark")}
BARE = TextSettings(describe_share=0.0)


def wordings(chances: TextSettings, count: int = 600) -> Counter[Prompt]:
    rng = np.random.default_rng(0)
    return Counter(sample_prompts(rng, ["scratch"], LOOKS, OTHERS, chances)[0] for _ in range(count))


def test_names_are_bare_unless_asked_otherwise() -> None:
    assert set(wordings(BARE, 20)) == {Prompt("scratch")}


def test_descriptions_come_with_the_name_all_or_one() -> None:
    drawn = wordings(TextSettings(describe_share=0.4))
    assert set(drawn) == {
        Prompt("scratch"),
        Prompt("scratch", ("thin line", "shallow groove")),
        Prompt("scratch", ("thin line",)),
        Prompt("scratch", ("shallow groove",)),
    }
    assert drawn[Prompt("scratch")] / 600 == pytest.approx(0.6, abs=0.06)
    assert drawn[Prompt("scratch", ("thin line", "shallow groove"))] / 600 == pytest.approx(0.2, abs=0.05)


def test_synonyms_take_the_place_of_the_name() -> None:
    drawn = wordings(replace(BARE, synonym_share=0.5))
    assert set(drawn) == {Prompt("scratch"), Prompt("scrape"), Prompt("rub mark")}
    assert drawn[Prompt("scratch")] / 600 == pytest.approx(0.5, abs=0.06)


def test_a_dropped_name_leaves_its_descriptions() -> None:
    drawn = wordings(replace(BARE, name_dropout=0.3))
    alone = {Prompt("thin line", ("shallow groove",)), Prompt("thin line"), Prompt("shallow groove")}
    assert set(drawn) == {Prompt("scratch")} | alone
    assert drawn[Prompt("scratch")] / 600 == pytest.approx(0.7, abs=0.06)
    assert set(wordings(replace(BARE, name_dropout=1.0, synonym_share=0.5))) == alone


def test_a_name_without_other_texts_stands_alone() -> None:
    chances = TextSettings(describe_share=1.0, synonym_share=1.0, name_dropout=1.0)
    assert sample_prompts(np.random.default_rng(0), ["odd"], LOOKS, OTHERS, chances) == (Prompt("odd"),)


WORD = st.sampled_from(
    ["pit", "pits", "Blow-hole", "blow hole", "pore", "dark line", "fold", "crease", "gap"]
)
TEXTS = st.dictionaries(WORD, st.lists(WORD, max_size=4, unique_by=term), max_size=6)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(WORD, unique_by=term, max_size=6), TEXTS, TEXTS)
def test_no_text_stands_for_two_names(
    seed: int, names: list[str], descriptions: dict[str, list[str]], synonyms: dict[str, list[str]]
) -> None:
    """In any way of writing: the columns of two names differ in truth, so their texts have to differ."""
    chances = TextSettings(describe_share=0.7, synonym_share=0.7, name_dropout=0.5)
    prompts = sample_prompts(np.random.default_rng(seed), names, descriptions, synonyms, chances)
    own = [{term(text) for text in prompt.all_texts} for prompt in prompts]
    assert len(set().union(*own)) == sum(len(prompt.all_texts) for prompt in prompts)
    for name, texts in zip(names, own, strict=True):
        assert not texts & ({term(other) for other in names} - {term(name)})
