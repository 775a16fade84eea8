"""From samples to a batch: columns, truth, what is known, and what each process must agree on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rtvp.data.collate import Collator
from rtvp.data.text_sampling import TextSettings
from rtvp.data.training_sample import GENERIC_NAME, Sample, known_of_all

SETTINGS = TextSettings(max_negatives=2, describe_share=0.5, synonym_share=0.5, name_dropout=0.3, seed=7)
ALL_NAMES = ("burr", "crack", "dirty mark", "hole", "scratch", "scuff")
DESCRIPTIONS = {"crack": ("thin dark line", "jagged fissure"), "hole": ("dark opening",)}
SYNONYMS = {"crack": ("fissure",), "scratch": ("scuff", "rub mark", "Defects")}


def make_sample(known: set[str] | None, *names: set[str], size: int = 32, value: int = 0) -> Sample:
    boxes = np.arange(4 * len(names), dtype=np.float32).reshape(-1, 4)
    wider = tuple(frozenset(own | {GENERIC_NAME}) for own in names)
    image = np.full((size, size, 3), value, np.uint8)
    return Sample(image, boxes, wider, None if known is None else frozenset(known | {GENERIC_NAME}))


CRACKED = make_sample({"crack", "scratch"}, {"crack"}, {"scratch"}, value=9)
GOOD = make_sample(None)
PASTED = make_sample({"crack"}, {"hole"})  # a hole is seen, but nobody looked for others


@pytest.fixture
def collate() -> Collator:
    return Collator(SETTINGS, ALL_NAMES, DESCRIPTIONS, SYNONYMS)


def test_needed_are_the_names_that_are_known_or_shown(collate: Collator) -> None:
    assert collate.needed([GOOD]) == {GENERIC_NAME}
    assert collate.needed([CRACKED, GOOD]) == {GENERIC_NAME, "crack", "scratch"}
    assert collate.needed([PASTED]) == {GENERIC_NAME, "crack", "hole"}


def test_targets_and_what_is_known(collate: Collator) -> None:
    samples = [CRACKED, GOOD, PASTED]
    batch = collate(0, samples, collate.needed(samples))
    column = {name: k for k, name in enumerate(batch.names)}
    assert batch.images.shape == (3, 3, 32, 32) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous() and batch.images[0].unique().tolist() == [9]
    assert len(batch.names) == len(batch.prompts) == len(set(batch.names)) == 4 + SETTINGS.max_negatives
    assert batch.features is None

    cracked, good, pasted = batch.targets
    assert cracked.boxes_xyxy.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cracked.positives.nonzero().tolist() == sorted(
        [n, column[name]] for n, own in enumerate(CRACKED.names) for name in own
    )
    assert good.boxes_xyxy.shape == (0, 4) and good.positives.shape == (0, len(batch.names))
    assert pasted.positives[0, column["hole"]]

    known = [{name for name, k in column.items() if row[k]} for row in batch.annotated]
    assert known == [{GENERIC_NAME, "crack", "scratch"}, set(batch.names), {GENERIC_NAME, "crack"}]


def test_every_process_asks_the_same(collate: Collator) -> None:
    """Whatever its own pictures are: the needed names of the whole batch decide, and the step."""
    needed = collate.needed([CRACKED, GOOD, PASTED])
    one = collate(4, [CRACKED], needed)
    other = Collator(SETTINGS, ALL_NAMES[::-1], DESCRIPTIONS, SYNONYMS)(4, [GOOD], needed)
    assert one.names == other.names and one.prompts == other.prompts
    wordings = {collate(step, [GOOD], needed).prompts for step in range(10)}
    assert len(wordings) > 5
    elsewhere = Collator(replace(SETTINGS, seed=8), ALL_NAMES, DESCRIPTIONS, SYNONYMS)
    assert {elsewhere(step, [GOOD], needed).prompts for step in range(10)} != wordings


def test_a_synonym_that_is_trained_as_a_name_is_not_used(collate: Collator) -> None:
    """Whether or not this batch asks for it: a scuff is a column at another step, any defect at each."""
    batches = [collate(step, [CRACKED], collate.needed([CRACKED])) for step in range(60)]
    said = {batch.prompts[batch.names.index("scratch")].name for batch in batches}
    assert said == {"scratch", "rub mark"}


def test_features_stand_for_the_images(collate: Collator) -> None:
    maps = [tuple(np.full((c, s, s), b, np.float16) for c, s in ((2, 4), (3, 2))) for b in range(2)]
    empty = np.zeros((32, 32, 0), np.uint8)
    samples = [replace(CRACKED, image=empty, features=own) for own in maps]
    batch = collate(0, samples, collate.needed(samples))
    assert batch.images.shape == (2, 0, 32, 32)
    assert batch.features is not None
    assert [tuple(level.shape) for level in batch.features] == [(2, 2, 4, 4), (2, 3, 2, 2)]
    assert all(level[b].unique().tolist() == [b] for level in batch.features for b in range(2))


def test_of_several_parts_the_common_names_are_known() -> None:
    assert known_of_all([frozenset("ab"), None, frozenset("bc")]) == {"b"}
    assert known_of_all([frozenset("ab"), frozenset("c")]) == frozenset()
    assert known_of_all([None, None]) is None
