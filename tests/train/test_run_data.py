from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtvp.data.generated import GeneratedSamples
from rtvp.data.glossary import synonyms
from rtvp.data.synthetic import DEFECT_NAMES
from rtvp.train.data import near_in_meaning
from rtvp.types import Floats


def one_meaning(texts: Sequence[str]) -> Floats:
    """Damage of threads and of teeth in one direction, everything else in another."""
    alike = np.array([float("thread" in text or "teeth" in text) for text in texts], np.float32)
    return np.stack([alike, 1 - alike], axis=1)


def test_what_gives_an_unseen_name_away_is_excluded() -> None:
    excluded = near_in_meaning(["damaged thread side"], 0.6, one_meaning)
    generated = GeneratedSamples(excluded | {"damaged thread side"})
    assert {"damaged thread", "loose thread", "broken teeth"} <= excluded  # a word, or the meaning
    assert not generated.names & {"damaged thread", "loose thread", "broken teeth"}
    assert {"scratch", "stain"} <= generated.names


def test_nothing_else_is_excluded() -> None:
    assert not near_in_meaning([], 0.6, one_meaning)
    ours = {*DEFECT_NAMES, *(text for own in synonyms().values() for text in own)}
    assert near_in_meaning(["wrinkle"], 1.1, one_meaning) == {text for text in ours if "wrinkl" in text}
