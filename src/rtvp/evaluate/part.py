"""The figures of some of the images: all of them, a scene, a resample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rtvp.evaluate.average_precision import mean_precision, precision_by_name
from rtvp.evaluate.image_level import Verdicts
from rtvp.evaluate.matching import Bools, Floats, Matches, count_boxes
from rtvp.evaluate.outcome import Outcome

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of I images.

    Attributes:
        images: [I] which of them.
        matches: of these images.
        merged: the same with all names as one.
        verdicts: on all I images.
        seen: names that were trained on, if that is told apart.
        unseen: names that were not.
    """

    images: Bools
    matches: Matches
    merged: Matches
    verdicts: Verdicts
    seen: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()

    def within(self, images: Bools) -> Part:
        """The part in it that [I] ``images`` picks, seen and unseen names together."""
        matches, merged = (
            {name: each.within(images) for name, each in of.items()} for of in (self.matches, self.merged)
        )
        return Part(self.images & images, matches, merged, self.verdicts)

    def figures(self, weights: Floats) -> Row:
        """Average precisions and image-level figures, each of the I images counted ``weights`` times."""
        by_name = precision_by_name(self.matches, weights=weights)
        merged = mean_precision(precision_by_name(self.merged, weights=weights))
        return {
            **mean_precision(by_name),
            **(self._seen_and_unseen(by_name) if self.seen or self.unseen else {}),
            "AP_agnostic": merged["AP"],
            "AP50_agnostic": merged["AP50"],
            **self.verdicts.figures(weights * self.images),
        }

    def row(self, weights: Floats) -> Row:
        """``images``, ``good``, ``boxes``, and the figures."""
        counts = {
            "images": int(self.images.sum()),
            "good": int((self.images & self.verdicts.good).sum()),
            "boxes": count_boxes(self.matches),
        }
        return counts | self.figures(weights)

    def _seen_and_unseen(self, by_name: Mapping[str, Floats]) -> Row:
        seen, unseen = (mean_precision(by_name, names) for names in (self.seen, self.unseen))
        row: Row = {}
        for key in ("AP", "AP50"):
            row |= {f"{key}_seen": seen[key], f"{key}_unseen": unseen[key]}
            row[f"{key}_harmonic"] = harmonic_mean(seen[key], unseen[key])
        return row


def split_by(whole: Part, outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, Part]:
    """One part for each value of ``key``, in alphabetic order."""
    values = np.array([key(outcome) for outcome in outcomes], dtype=object)
    return {value: whole.within(values == value) for value in sorted(set(values))}


def harmonic_mean(first: float, second: float) -> float:
    """0 where one of them is; NaN where one could not be measured."""
    total = first + second
    return 2 * first * second / total if total else total
