"""Generated defect pictures as samples to train on."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from rtvp.data.glossary import forbidden_words, says
from rtvp.data.synthetic import DEFECT_NAMES, SyntheticSample, generate, paint_on
from rtvp.data.training_sample import GENERIC_NAME, Sample

_TRIES = 20  # pictures until one shows nothing that is excluded
ABSENT = "missing"  # the word that turns what follows into its opposite
_GAP = 3  # px between a real defect and a painted one


class GeneratedSamples:
    """Pictures of the generator that show nothing excluded.

    Args:
        excluded: unseen names. What goes by one of them or by a synonym of one is not shown, nor is what the
            generator calls by a phrase with its words.
        attribute_words: whether defects go by phrases such as "thin dark scratch", too.
        margin: what boxes leave around a defect, of the picture's longer side. Painted masks have no margin,
            boxes that people draw do, and of a small defect it is a large part.
    """

    def __init__(
        self, excluded: Collection[str] = (), attribute_words: bool = True, margin: float = 0.0
    ) -> None:
        self.attribute_words, self.margin = attribute_words, margin
        self._forbidden = forbidden_words(excluded)
        self.names = frozenset(name for name in DEFECT_NAMES if not says(name, self._forbidden))

    def sample(self, rng: np.random.Generator, size: int, good: bool) -> Sample:
        """A picture [size, size, 3]; good, or with the boxes of its defects and all that they are called."""
        made = self._sayable(lambda: generate(_seed(rng), size, size, good))
        made = made or generate(_seed(rng), size, size, good=True)
        boxes, names, said = self._labels(made)
        return Sample(made.image, boxes, names, self.names | said if names else None)

    def paint(self, rng: np.random.Generator, sample: Sample, vocabulary: frozenset[str]) -> Sample:
        """A real picture with generated defects painted beside what it shows; unchanged where none fits.

        Of the names that are painted it is taken as known where they are: a real defect that looks like one
        of them, and that the labels call something else, would be a mistake.

        Args:
            rng: where chance comes from.
            sample: a picture, of any shape.
            vocabulary: what is known of a picture of its set that is not good.
        """
        plain = np.ones(sample.image.shape[:2], np.bool_)
        for x1, y1, x2, y2 in sample.boxes_xyxy.astype(int):
            plain[max(0, y1 - _GAP) : y2 + 1 + _GAP, max(0, x1 - _GAP) : x2 + 1 + _GAP] = False
        made = self._sayable(lambda: paint_on(sample.image, plain, _seed(rng)))
        if made is None or not made.defects:
            return sample
        boxes, names, said = self._labels(made)
        known = vocabulary | self.names if sample.known is None else sample.known
        return Sample(
            made.image, np.concatenate([sample.boxes_xyxy, boxes]), sample.names + names, known | said
        )

    def _sayable(self, make: Callable[[], SyntheticSample]) -> SyntheticSample | None:
        """The first picture that shows nothing excluded; None if there is none in a number of tries."""
        pictures = (make() for _ in range(_TRIES))
        return next((made for made in pictures if not self._shows_excluded(made)), None)

    def _shows_excluded(self, made: SyntheticSample) -> bool:
        return any(says(defect.phrase, self._forbidden) for defect in made.defects)

    def _labels(
        self, made: SyntheticSample
    ) -> tuple[NDArray[np.float32], tuple[frozenset[str], ...], frozenset[str]]:
        """Boxes [N, 4], all names of each, and all names of any."""
        height, width = made.image.shape[:2]
        margin = self.margin * max(height, width)
        boxes = np.array([d.box_xyxy for d in made.defects], np.float32).reshape(-1, 4)
        boxes = (boxes + np.array([-margin, -margin, margin, margin], np.float32)).clip(
            0, np.array([width, height] * 2, np.float32)
        )
        phrases = self.names.union(d.phrase for d in made.defects if self.attribute_words)
        names = tuple(
            frozenset({d.name, GENERIC_NAME}) | {p for p in phrases if _says_less(p, d.phrase)}
            for d in made.defects
        )
        return boxes, names, frozenset({GENERIC_NAME}).union(*names)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _says_less(phrase: str, other: str) -> bool:
    """Whether whatever is ``other`` is ``phrase`` too: a "thin dark scratch" is a "dark scratch".

    An "oil stain" is a "stain"; a "missing hole" is no "hole".
    """
    said, more = set(phrase.split()), set(other.split())
    return said <= more and (ABSENT in more) == (ABSENT in said)
