"""What a split gives away of its test side, and whether it keeps its promise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from rtvp.mmio.categories import NEAR_COSINE, Embedder, name_cosines
from rtvp.mmio.names import shared_words
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Split


class NamePair(NamedTuple):
    """A seen and an unseen category with names that are much alike.

    Attributes:
        seen: name of the one.
        unseen: name of the other.
        cosine: of the two texts; None without a text model.
        shared_words: content words that are in both.
    """

    seen: str
    unseen: str
    cosine: float | None
    shared_words: tuple[str, ...]


@dataclass(frozen=True)
class Leaks:
    """What was found in a split; every list is sorted.

    Attributes:
        split: its name.
        near_names: seen and unseen names that share a content word or lie near each other, nearest first.
        shared_groups: groups with images on both sides.
        copies: keys of a training and a test image with the same bytes.
        near_duplicates: keys of a training and a test image that are nearly the same.
        broken: one line for each promise that is broken; empty if the split keeps them all.
    """

    split: str
    near_names: tuple[NamePair, ...]
    shared_groups: tuple[str, ...]
    copies: tuple[tuple[str, str], ...]
    near_duplicates: tuple[tuple[str, str], ...]
    broken: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the split keeps its promise."""
        return not self.broken

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "near_names": [pair._asdict() for pair in self.near_names], "ok": self.ok}


def find_leaks(
    split: Split,
    items: Iterable[Item],
    near_pairs: Iterable[tuple[str, str]] = (),
    embed: Embedder | None = None,
    *,
    scene_of: Mapping[str, str] | None = None,
    near_cosine: float = NEAR_COSINE,
) -> Leaks:
    """Look for everything that training could know of the test side.

    Near names are always listed, but break the promise of a split that makes one about names only.

    Args:
        split: any one.
        items: the images that it splits.
        near_pairs: keys of images that are nearly the same.
        embed: the text model; without it, names are compared by their words alone.
        scene_of: set -> scene, for a split by scene.
        near_cosine: from here on, two names are listed as near; the split's own limit, if that is lower.
    """
    by_key = {item.key: item for item in items}
    limit = min(near_cosine, split.max_cosine or near_cosine)
    names = _near_names(split, embed, limit)
    groups = _shared(split, by_key, {key: item.group for key, item in by_key.items()})
    hashes = {key: item.sha256 for key, item in by_key.items() if item.sha256}
    copies = [pair for pairs in _shared(split, by_key, hashes).values() for pair in pairs]
    crossing = {_train_first(split, *pair) for pair in near_pairs if _crosses(split, *pair)}
    broken = [
        *_unplaced(split, by_key),
        *_count(len(groups), "group(s) with images on both sides", sorted(groups)),
        *_count(len(copies), "copies of a training image on the test side", [b for _, b in sorted(copies)]),
        *_count(len(crossing), "near-duplicate(s) across the sides", [b for _, b in sorted(crossing)]),
        *_category_promise(split, by_key),
        *_name_promise(split, names, embed),
        *_scene_promise(split, by_key, scene_of or {}),
    ]
    return Leaks(
        split.name,
        names,
        tuple(sorted(groups)),
        tuple(sorted(copies)),
        tuple(sorted(crossing)),
        tuple(broken),
    )


def _near_names(split: Split, embed: Embedder | None, limit: float) -> tuple[NamePair, ...]:
    cosines = name_cosines(split.seen, split.unseen, embed) if embed and split.seen and split.unseen else None
    pairs = []
    for i, seen in enumerate(split.seen):
        for j, unseen in enumerate(split.unseen):
            cosine = None if cosines is None else float(cosines[i, j])
            shared = shared_words(seen, unseen)
            if shared or (cosine is not None and cosine >= limit):
                pairs.append(NamePair(seen, unseen, cosine, shared))
    return tuple(sorted(pairs, key=lambda pair: (-(pair.cosine or 0.0), pair[:2])))


def _crosses(split: Split, one: str, other: str) -> bool:
    return {split.sides.get(one), split.sides.get(other)} == {"train", "test"}


def _train_first(split: Split, one: str, other: str) -> tuple[str, str]:
    return (one, other) if split.sides[one] == "train" else (other, one)


def _shared(
    split: Split, by_key: Mapping[str, Item], value_of: Mapping[str, str]
) -> dict[str, list[tuple[str, str]]]:
    """Values that images on both sides have -> the first training image with it and each test image."""
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"train": [], "test": []})
    for key in sorted(value_of):
        if key in split.sides and key in by_key:
            sides[value_of[key]][split.sides[key]].append(key)
    return {
        value: [(found["train"][0], key) for key in found["test"]]
        for value, found in sides.items()
        if found["train"] and found["test"]
    }


def _unplaced(split: Split, by_key: Mapping[str, Item]) -> list[str]:
    placed = {*split.sides, *split.left_out}
    twice = sorted({*split.sides} & {*split.left_out})
    return [
        *_count(
            len(set(by_key) - placed), "image(s) without a side or a reason", sorted(set(by_key) - placed)
        ),
        *_count(len(placed - set(by_key)), "image(s) that are not there", sorted(placed - set(by_key))),
        *_count(len(twice), "image(s) that have a side and are left out", twice),
    ]


def _category_promise(split: Split, by_key: Mapping[str, Item]) -> list[str]:
    trained: set[str] = set()
    showing: list[str] = []
    for key, item in sorted(by_key.items()):
        if split.sides.get(key) == "train":
            names = {annotation.name for annotation in item.annotations}
            trained |= names
            if names & set(split.unseen):
                showing.append(key)
    both = sorted(set(split.seen) & set(split.unseen))
    never = sorted(set(split.seen) - trained)
    unnamed = sorted(trained - set(split.seen) - set(split.unseen))
    return [
        *_count(len(showing), "training image(s) that show an unseen category", showing),
        *_count(len(both), "category(ies) both seen and unseen", both),
        *_count(len(never), "seen category(ies) without a training image", never),
        *_count(len(unnamed), "trained category(ies) that are not listed as seen", unnamed),
    ]


def _name_promise(split: Split, names: Sequence[NamePair], embed: Embedder | None) -> list[str]:
    limit = split.max_cosine
    if limit is None:
        return []
    worded = [f"{pair.seen} / {pair.unseen}" for pair in names if pair.shared_words]
    near = [
        f"{pair.seen} / {pair.unseen}" for pair in names if pair.cosine is not None and pair.cosine >= limit
    ]
    unchecked = [f"the cosine of names below {limit:g} cannot be checked without a text model"]
    return [
        *_count(len(worded), "pair(s) of a seen and an unseen name with a common word", worded),
        *_count(len(near), f"pair(s) of a seen and an unseen name with a cosine of {limit:g} or more", near),
        *([] if embed else unchecked),
    ]


def _scene_promise(split: Split, by_key: Mapping[str, Item], scene_of: Mapping[str, str]) -> list[str]:
    unseen = set(split.unseen_scenes)
    if not unseen:
        return []
    unknown = sorted({item.source for item in by_key.values()} - set(scene_of))
    wrong = [
        key
        for key, item in sorted(by_key.items())
        if key in split.sides and (split.sides[key] == "test") != (scene_of.get(item.source) in unseen)
    ]
    if unknown:
        return _count(len(unknown), "set(s) whose scene is not known, so that it cannot be checked", unknown)
    return _count(len(wrong), "image(s) of a seen scene tested on or of an unseen one trained on", wrong)


def _count(number: int, what: str, examples: Sequence[str]) -> list[str]:
    """One line if there are any, with the first ones by name."""
    return [f"{number} {what}: {', '.join(examples[:3])}{', ...' if number > 3 else ''}"] if number else []
