"""One picture to train on, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GENERIC_NAME = "defect"  # every defect is one, and every labelled picture knows its defects


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture after augmentation.

    Attributes:
        image: [S, S, 3] uint8 RGB; [S, S, 0] where ``features`` stand for it.
        boxes_xyxy: [N, 4] float32, px of the picture.
        names: of each box, its own and the wider ones that hold as well.
        known: names of which it is known where in the picture they are and are not; None: all names, since
            nothing is wrong in it. A box may have a name outside of it: that this one is there is known, but
            not whether there are others.
        features: maps of a frozen image encoder, finest first, each [C, S/s, S/s]; None where it has to see
            the image.
    """

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    names: tuple[frozenset[str], ...]
    known: frozenset[str] | None
    features: tuple[NDArray[np.floating], ...] | None = None


def known_of_all(parts: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """What is known of a picture made of several: the names that are known of every part.

    Whoever labelled one part never looked for the names of the others. None, all names, is known of good
    parts; a picture of nothing but good ones is good.
    """
    limited = [part for part in parts if part is not None]
    return frozenset.intersection(*limited) if limited else None
