"""What a detector is asked for when it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

from rtvp.data.dataset import GENERIC_NAME
from rtvp.data.labelled import LabelledSet
from rtvp.types import Prompt

Prompting = Literal["own", "all", "unseen", "generic"]
PROMPTINGS: tuple[Prompting, ...] = get_args(Prompting)


def make_prompts(
    prompting: Prompting,
    names: Iterable[str],
    unseen: Iterable[str] = (),
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Callable[[LabelledSet], list[Prompt]]:
    """What each set is asked for, as `measure` wants it.

    Args:
        prompting: ``own``: the set's own vocabulary. ``all``: all ``names`` at once (generalised zero-shot
            detection). ``unseen``: the ``unseen`` ones alone. ``generic``: one prompt that means any defect.
        names: of the whole benchmark.
        unseen: names that were not trained on.
        texts: name -> further texts of its prompt; plain names if None.
    """
    everywhere = {
        "all": sorted({*names}),
        "unseen": sorted({*unseen}),
        "generic": [GENERIC_NAME],
    }
    known = texts or {}

    def prompts(labelled: LabelledSet) -> list[Prompt]:
        asked = sorted(labelled.vocabulary) if prompting == "own" else everywhere[prompting]
        return [Prompt(name, tuple(known.get(name, ()))) for name in asked]

    return prompts
