"""Removes images that teach nothing or teach it twice, and says of each why.

A near-duplicate is only removed where its labels say the same (boxes of the same names at the same places, or
none in both) or one of the two is wrong (another name at the same place, in one set). What looks alike with
boxes elsewhere may be another part before the same camera, or the same part with another defect: both stay,
as a pair that no split may part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from rtvp.mmio.build_config import CleaningConfig
from rtvp.mmio.fingerprint import ORIENTATIONS, Fingerprint
from rtvp.mmio.near_duplicates import NearPair, find_near_pairs
from rtvp.mmio.schema import Box, Item

Reason = Literal[
    "unreadable", "blank", "almost blank", "exact duplicate", "near duplicate", "contradictory labels"
]
Labels = Literal["agree", "differ", "contradict"]

CONSTANT = 2  # grey levels; what compression makes of one colour. Nothing can be seen, labelled or not

_SAME_PLACE = 0.5  # IoU of two boxes that mean the same defect
_EXAMPLES = 3
_DECIMALS = 3


class Removal(NamedTuple):
    """An image that was left out.

    Attributes:
        key: of the image.
        reason: the rule.
        detail: for people.
        kept_key: the image that stands for it; None if there is none.
    """

    key: str
    reason: Reason
    detail: str
    kept_key: str | None


class NearDuplicate(NamedTuple):
    """Two images that show the same picture, whether or not one of them was removed for it.

    Attributes:
        one: key of the one.
        other: key of the other.
        orientation: how the second has to be turned to look like the first.
        texture: share of the bits of their texture that agree.
        mean: difference of the thumbnails, grey levels.
        largest: of these differences.
        labels: how they relate, see :func:`compare_labels`.
    """

    one: str
    other: str
    orientation: str
    texture: float
    mean: float
    largest: int
    labels: Labels


@dataclass(frozen=True)
class Cleaned:
    """What is left and what was done.

    Attributes:
        items: the images that stay, sorted by key.
        removals: sorted by key.
        near_duplicates: all pairs that were found.
        notes: what a person should know, one line each.
    """

    items: tuple[Item, ...]
    removals: tuple[Removal, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    notes: tuple[str, ...]

    @property
    def near_pairs(self) -> tuple[tuple[str, str], ...]:
        """Keys of near-duplicates that both stayed."""
        kept = {item.key for item in self.items}
        return tuple(
            (near.one, near.other) for near in self.near_duplicates if {near.one, near.other} <= kept
        )


def clean(items: Iterable[Item], fingerprints: Mapping[str, Fingerprint], config: CleaningConfig) -> Cleaned:
    """Find out which images to leave out.

    Of copies, the one that stays is one of ``config.keep``, or has the most boxes, then the most pixels, then
    the shortest name (``x.png`` before ``x_copy.png``), then the first key.

    Args:
        items: in any order; the result does not depend on it.
        fingerprints: key of an image -> what it looks like; one for each.
        config: the rules.
    """
    return _Cleaner(items, fingerprints, config).run()


class _Cleaner:
    """The images that are left, rule by rule."""

    def __init__(
        self, items: Iterable[Item], fingerprints: Mapping[str, Fingerprint], config: CleaningConfig
    ) -> None:
        self._config = config
        self._prints = fingerprints
        self._left = {item.key: item for item in sorted(items, key=lambda item: item.key)}
        self._protected: set[str] = set()
        self._removals: list[Removal] = []
        self._notes: list[str] = []

    def run(self) -> Cleaned:
        self._protect()
        self._remove_unreadable()
        self._remove_blank()
        self._remove_exact()
        near = self._remove_near()
        return Cleaned(tuple(self._left.values()), self._settled(), near, tuple(self._notes))

    def _settled(self) -> tuple[Removal, ...]:
        """The removals with the images left at the end: what one rule kept, a later one may remove."""
        kept_by = {removal.key: removal.kept_key for removal in self._removals}
        settled = []
        for removal in sorted(self._removals):
            kept = removal.kept_key
            while kept in kept_by:
                kept = kept_by[kept]
            settled.append(removal._replace(kept_key=kept))
        return tuple(settled)

    def _protect(self) -> None:
        for pattern in self._config.keep:
            matching = [key for key in self._left if fnmatchcase(key, pattern)]
            self._protected.update(matching)
            if not matching:
                self._notes.append(f"keep: no image matches {pattern}")

    def _remove(self, key: str, reason: Reason, detail: str, kept: str | None = None) -> None:
        if key not in self._protected:
            del self._left[key]
            self._removals.append(Removal(key, reason, detail, kept))

    def _remove_unreadable(self) -> None:
        broken = [key for key in self._left if not self._prints[key].readable]
        for key in broken if self._config.unreadable else ():
            self._remove(key, "unreadable", "it does not decode to its end")

    def _remove_blank(self) -> None:
        limit = self._config.blank_contrast
        if limit is None:
            return
        suspect = []
        for key, item in list(self._left.items()):
            look, boxes = self._prints[key], len(item.annotations)
            if not look.readable or look.contrast > max(limit, CONSTANT):
                continue
            if look.contrast <= CONSTANT:
                self._remove(key, "blank", f"one colour all over, {boxes} box(es)")
            elif not boxes:
                self._remove(key, "almost blank", f"{look.contrast} grey levels of contrast")
            else:
                suspect.append(key)
        self._note(suspect, "almost blank image(s) with boxes stay")

    def _remove_exact(self) -> None:
        copies: dict[str, list[Item]] = defaultdict(list)
        for item in self._left.values() if self._config.exact_duplicates else ():
            copies[item.sha256].append(item)
        for members in copies.values():
            first, *others = sorted(members, key=self._rank)
            pairs = []
            for other in others:
                labels = compare_labels(first, other, 0)
                if labels == "differ" and first.source == other.source:
                    labels = "contradict"  # nothing but the labels differs, so one of them is wrong
                pairs.append(_Pair(first.key, other.key, labels, "the same bytes"))
            self._thin_out(pairs, "exact duplicate")

    def _remove_near(self) -> tuple[NearDuplicate, ...]:
        """Leave out copies, and tell of all pairs that show the same picture."""
        config = self._config
        if not config.near_duplicates:
            return ()
        blank = max(config.blank_contrast or 0, CONSTANT)
        keys = [key for key in self._left if self._prints[key].contrast > blank]
        found, crowded = find_near_pairs([self._prints[key] for key in keys], config.near_texture)
        if crowded:
            self._notes.append(
                f"{crowded} image(s) look so much like many others that not all of these were compared"
            )
        near, copies = [], []
        for pair in found:
            one, other = keys[pair.one], keys[pair.other]
            labels = compare_labels(self._left[one], self._left[other], pair.orientation)
            turned = ORIENTATIONS[pair.orientation]
            texture, mean = round(pair.texture, _DECIMALS), round(pair.mean, _DECIMALS)
            near.append(NearDuplicate(one, other, turned, texture, mean, pair.largest, labels))
            if self._is_copy(pair):
                what = f"a copy ({turned}; texture {texture:g}, grey levels {mean:g} apart)"
                copies.append(_Pair(one, other, labels, what))
        self._thin_out(copies, "near duplicate")
        return tuple(near)

    def _is_copy(self, pair: NearPair) -> bool:
        config = self._config
        return (
            pair.texture >= config.copy_texture
            and pair.mean <= config.copy_mean
            and pair.largest <= config.copy_largest
        )

    def _thin_out(self, pairs: Sequence[_Pair], reason: Reason) -> None:
        """Remove copies of images that stay; what was removed itself stands for nothing."""
        rule = self._config.contradictions
        if rule == "drop":
            doomed = {key: pair for pair in pairs if pair.labels == "contradict" for key in pair[:2]}
            for key, pair in doomed.items():
                self._remove(key, "contradictory labels", pair.what)
        copies: dict[str, list[tuple[str, _Pair]]] = defaultdict(list)
        for pair in pairs:
            if pair.one in self._left and pair.other in self._left:
                first, second = sorted(pair[:2], key=lambda key: self._rank(self._left[key]))
                copies[first].append((second, pair))
        ranks = {key: self._rank(self._left[key]) for key in copies}
        for key in sorted(copies, key=ranks.__getitem__):
            for other, pair in copies[key]:
                if key not in self._left or other not in self._left:
                    continue
                if pair.labels == "agree":
                    self._remove(other, reason, pair.what, key)
                elif pair.labels == "contradict" and rule == "richer":
                    self._remove(other, "contradictory labels", pair.what, key)
        both = [pair.one for pair in pairs if pair.one in self._left and pair.other in self._left]
        self._note(
            both, f"pair(s) of images of which one would be a{'n' * (reason[0] in 'aeiou')} {reason} stay"
        )

    def _rank(self, item: Item) -> tuple[bool, int, int, int, str]:
        return (
            item.key not in self._protected,
            -len(item.annotations),
            -item.width * item.height,
            len(item.file_name),
            item.key,
        )

    def _note(self, keys: Sequence[str], what: str) -> None:
        if keys:
            more = ", ..." if len(keys) > _EXAMPLES else ""
            self._notes.append(f"{len(keys)} {what}: {', '.join(keys[:_EXAMPLES])}{more}")


class _Pair(NamedTuple):
    """Two copies of one picture."""

    one: str
    other: str
    labels: Labels
    what: str


def compare_labels(one: Item, other: Item, orientation: int) -> Labels:
    """How the labels of two copies relate, once the second is brought into ``orientation``.

    They agree if every box of either has a box of the same name at the same place in the other (an IoU of a
    half or more, relative to the size of the image). Those of one set contradict each other if a box has, at
    its place, only boxes of other names; two sets may both be right, in words of their own.
    """
    ones = _relative(one, 0)
    others = _relative(other, orientation)
    agree = True
    for mine, theirs in ((ones, others), (others, ones)):
        for name, box in mine:
            here = {theirs_name for theirs_name, place in theirs if _iou(box, place) >= _SAME_PLACE}
            if here and name not in here and one.source == other.source:
                return "contradict"
            agree = agree and name in here
    return "agree" if agree else "differ"


def _relative(item: Item, orientation: int) -> list[tuple[str, Box]]:
    """Names and boxes of an image in ``orientation``, in parts of its width and height."""
    boxes = []
    for annotation in item.annotations:
        x1, y1, x2, y2 = annotation.box_xyxy
        x1, y1, x2, y2 = x1 / item.width, y1 / item.height, x2 / item.width, y2 / item.height
        if orientation & 4:
            x1, y1, x2, y2 = y1, x1, y2, x2
        if orientation & 1:
            x1, x2 = 1 - x2, 1 - x1
        if orientation & 2:
            y1, y2 = 1 - y2, 1 - y1
        boxes.append((annotation.name, (x1, y1, x2, y2)))
    return boxes


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)
