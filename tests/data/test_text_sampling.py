from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.data.text_sampling import batch_vocabulary, sample_texts
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


def test_every_wording_occurs_and_no_other() -> None:
    descriptions = {"scratch": ("thin line", "shallow groove")}
    rng = np.random.default_rng(0)
    drawn = Counter(sample_texts(rng, "scratch", descriptions) for _ in range(600))
    assert set(drawn) == {
        Prompt("scratch"),
        Prompt("scratch", ("thin line", "shallow groove")),
        Prompt("scratch", ("thin line",)),
        Prompt("scratch", ("shallow groove",)),
    }
    assert min(drawn.values()) > 30


def test_a_name_without_descriptions_stands_alone() -> None:
    rng = np.random.default_rng(0)
    drawn = {sample_texts(rng, "odd thing", {"scratch": ("line",)}) for _ in range(20)}
    assert drawn == {Prompt("odd thing")}
