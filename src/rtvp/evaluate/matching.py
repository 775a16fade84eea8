"""Which detections hit which boxes: the matching of COCO and LVIS, done once for every figure.

One matching gives every table and every resample of a bootstrap. It visits the pairs of image and name that
occur; evaluation libraries visit all of them, which in LVIS are 24 million.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtvp.evaluate.outcome import BoxXyxy, Outcome

IOU_LEVELS = np.linspace(0.5, 0.95, 10)
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class SizeRange(NamedTuple):
    """Objects with an area from ``low`` to ``high``, in px, or as a share of the image if ``relative``.

    As in COCO both limits belong to it.
    """

    low: float
    high: float
    relative: bool = False


# The first takes every object; then COCO's, in px; then by the share of the image that a defect covers.
SIZE_RANGES: Mapping[str, SizeRange] = {
    "all": SizeRange(0, 1e10),
    "s": SizeRange(0, 32**2),
    "m": SizeRange(32**2, 96**2),
    "l": SizeRange(96**2, 1e10),
    "below 0.1 %": SizeRange(0, 0.001, relative=True),
    "0.1 to 1 %": SizeRange(0.001, 0.01, relative=True),
    "1 to 10 %": SizeRange(0.01, 0.1, relative=True),
    "over 10 %": SizeRange(0.1, 1e10, relative=True),
}
_LOW = np.array([each.low for each in SIZE_RANGES.values()])[:, None]
_HIGH = np.array([each.high for each in SIZE_RANGES.values()])[:, None]
_RELATIVE = np.array([each.relative for each in SIZE_RANGES.values()])[:, None]


class Limits(NamedTuple):
    """How many detections count, the best ones: of an image, and of a name in an image."""

    per_image: int | None
    per_name: int | None


COCO_LIMITS = Limits(None, 100)
LVIS_LIMITS = Limits(300, None)


@dataclass(frozen=True, slots=True)
class NameMatches:
    """All that was found and all that was to be found of one name.

    N detections, best score first (equal scores in the order of the images); M boxes; R ranges of
    `SIZE_RANGES`; T IoU levels.

    Attributes:
        image: [N] index of the image.
        rank: [N] place among the detections of its image, from 0.
        score: [N].
        hit: [R, T, N] whether it found a box that counts in the range.
        judged: [R, T, N] whether it is right or wrong at all.
        truth_image: [M] index of the image.
        truth_judged: [R, M] whether the box counts in the range.
    """

    image: Ints
    rank: Ints
    score: Floats
    hit: Bools
    judged: Bools
    truth_image: Ints
    truth_judged: Bools

    def within(self, images: Bools) -> NameMatches:
        """Only what belongs to some images, given as [I] over all; indices stay what they are."""
        found, boxes = images[self.image], images[self.truth_image]
        return NameMatches(
            self.image[found],
            self.rank[found],
            self.score[found],
            self.hit[:, :, found],
            self.judged[:, :, found],
            self.truth_image[boxes],
            self.truth_judged[:, boxes],
        )


Matches = Mapping[str, NameMatches]


def match(outcomes: Sequence[Outcome], limits: Limits = COCO_LIMITS) -> dict[str, NameMatches]:
    """Match the detections of every image with its boxes, name by name.

    The best detection chooses first, among the boxes of its name that are free, the one that it overlaps
    with most. What finds only a crowd, or a box out of the size range, is not judged, nor is what finds
    nothing and is out of the range itself.

    Args:
        outcomes: of I images; an image's place is its index in the result.
        limits: how many detections count.

    Returns:
        The names in alphabetic order, those alone that were found or are labelled somewhere.
    """
    parts: dict[str, list[NameMatches]] = defaultdict(list)
    for index, outcome in enumerate(outcomes):
        for name, pair in _pairs(outcome, limits):
            parts[name].append(_match_pair(index, pair, outcome))
    return {name: _join(parts[name]) for name in sorted(parts)}


def count_boxes(matches: Matches, size: str = "all") -> int:
    """Boxes that count, of a range of `SIZE_RANGES`."""
    index = list(SIZE_RANGES).index(size)
    return sum(int(each.truth_judged[index].sum()) for each in matches.values())


@dataclass(slots=True)
class _Pair:
    """One name in one image: ``boxes`` are its truth, then its crowds."""

    name: str
    scores: list[float]
    found: list[BoxXyxy]
    boxes: list[BoxXyxy]
    areas: list[float]
    crowds: int


def _pairs(outcome: Outcome, limits: Limits) -> Iterator[tuple[str, _Pair]]:
    pairs: dict[str, _Pair] = {}

    def pair_of(name: str) -> _Pair:
        return pairs.setdefault(name, _Pair(name, [], [], [], [], 0))

    areas = outcome.areas or [_area(box) for _, box in outcome.truth]
    for (name, box), area in zip(outcome.truth, areas, strict=True):
        if name in outcome.annotated:
            pair = pair_of(name)
            pair.boxes.append(box)
            pair.areas.append(area)
    for name, box in outcome.crowds:
        if name in outcome.annotated:
            pair = pair_of(name)
            pair.boxes.append(box)
            pair.areas.append(_area(box))
            pair.crowds += 1
    ordered = sorted(outcome.predictions, key=lambda prediction: -prediction[1])
    for name, score, box in ordered[: limits.per_image]:
        if name in outcome.annotated:
            pair = pair_of(name)
            if limits.per_name is None or len(pair.found) < limits.per_name:
                pair.scores.append(score)
                pair.found.append(box)
    yield from pairs.items()


def _match_pair(index: int, pair: _Pair, outcome: Outcome) -> NameMatches:
    found, boxes = _as_boxes(pair.found), _as_boxes(pair.boxes)
    image_area = float(outcome.width * outcome.height)
    crowd = np.arange(len(boxes)) >= len(boxes) - pair.crowds
    ignored = crowd | ~_in_range(np.array(pair.areas, dtype=float), image_area)  # [R, M]
    hit, spared = _assign(_overlaps(found, boxes, crowd), ignored, crowd)
    if pair.name in outcome.not_exhaustive:
        judged = hit
    else:
        sides = found[:, 2:] - found[:, :2]
        judged = ~spared & (hit | _in_range(sides.prod(axis=1), image_area)[:, None])
    labelled = ~crowd
    return NameMatches(
        image=np.full(len(found), index),
        rank=np.arange(len(found)),
        score=np.array(pair.scores, dtype=float),
        hit=hit,
        judged=judged,
        truth_image=np.full(int(labelled.sum()), index),
        truth_judged=~ignored[:, labelled],
    )


def _assign(overlaps: Floats, ignored: Bools, crowd: Bools) -> tuple[Bools, Bools]:
    """Greedy assignment, at all ranges and levels at once.

    Args:
        overlaps: [N, M] of detections, best first, and boxes.
        ignored: [R, M] boxes that do not count.
        crowd: [M] boxes that any number of detections may find.

    Returns:
        [R, T, N] whether a box that counts was found, and whether only one that does not.
    """
    shape = (len(ignored), len(IOU_LEVELS))
    hit, spared = np.zeros((2, *shape, len(overlaps)), dtype=bool)
    free = np.ones((*shape, len(crowd)), dtype=bool)
    counts_first = np.where(ignored, 0.0, 2.0)[:, None, :]  # above any overlap
    levels = np.minimum(IOU_LEVELS, 1 - 1e-10)[:, None]
    ranges, steps = np.ogrid[: shape[0], : shape[1]]
    for n in np.flatnonzero(overlaps.max(axis=1, initial=0.0) >= IOU_LEVELS[0]):
        overlap = overlaps[n]
        wish = np.where(free & (overlap >= levels), counts_first + overlap, -1.0)  # [R, T, M]
        best = len(crowd) - 1 - wish[..., ::-1].argmax(axis=-1)  # of equals the last, as in COCO
        matched = wish[ranges, steps, best] >= 0
        wasted = ignored[ranges, best]
        hit[..., n], spared[..., n] = matched & ~wasted, matched & wasted
        free[ranges, steps, best] &= ~matched | crowd[best]
    return hit, spared


def _overlaps(found: Floats, boxes: Floats, crowd: Bools) -> Floats:
    """[N, M] intersection over union; over the detection's area alone where the box is a crowd."""
    corners_low = np.maximum(found[:, None, :2], boxes[None, :, :2])
    corners_high = np.minimum(found[:, None, 2:], boxes[None, :, 2:])
    common = (corners_high - corners_low).clip(min=0).prod(axis=2)
    own = (found[:, 2:] - found[:, :2]).prod(axis=1)[:, None]
    other = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[None, :]
    union = np.where(crowd, own, own + other - common)
    overlaps: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def _in_range(areas: Floats, image_area: float) -> Bools:
    """[N] areas in px to [R, N]."""
    measured = np.where(_RELATIVE, areas / image_area, areas)
    inside: Bools = (measured >= _LOW) & (measured <= _HIGH)
    return inside


def _join(parts: Sequence[NameMatches]) -> NameMatches:
    score = np.concatenate([part.score for part in parts])
    order = np.argsort(-score, kind="stable")
    return NameMatches(
        np.concatenate([part.image for part in parts])[order],
        np.concatenate([part.rank for part in parts])[order],
        score[order],
        np.concatenate([part.hit for part in parts], axis=2)[:, :, order],
        np.concatenate([part.judged for part in parts], axis=2)[:, :, order],
        np.concatenate([part.truth_image for part in parts]),
        np.concatenate([part.truth_judged for part in parts], axis=1),
    )


def _as_boxes(boxes: Sequence[BoxXyxy]) -> Floats:
    return np.array(boxes, dtype=float).reshape(-1, 4)


def _area(box: BoxXyxy) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
