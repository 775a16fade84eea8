"""Training and test parts that share no group. The zero-shot splits are in ``zero_shot``."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from rtvp.errors import RtvpError
from rtvp.mmio.schema import ImageRecord, Item

Side = Literal["train", "test"]

CLOSED = "closed"

_GOOD = ""  # stands for "no defect" among the categories, so that good images are shared out too


@dataclass(frozen=True)
class Split:
    """Which image is trained on, which is tested on, and what the split promises beyond that.

    Every split promises that no group, no copy of a file and no near-duplicate that it was told of is on
    both sides, and that no unseen category is in a training image.

    Attributes:
        name: "closed", "zero-shot/category", "zero-shot/meaning" or "zero-shot/scene".
        sides: key of an image -> its side.
        left_out: key of an image that is on no side -> why.
        seen: categories of the training images, sorted.
        unseen: categories that only test images show, sorted. Test images may show seen ones as well.
        unseen_scenes: scenes that only test images show, sorted; promised by "zero-shot/scene".
        max_cosine: promised by "zero-shot/meaning": the names of a seen and an unseen category share no
            content word, and the cosine of their texts is below this.
    """

    name: str
    sides: Mapping[str, Side]
    left_out: Mapping[str, str] = field(default_factory=dict)
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    unseen_scenes: tuple[str, ...] = ()
    max_cosine: float | None = None


def closed_split(
    items: Iterable[Item],
    *,
    test_share: float = 0.2,
    seed: int = 0,
    near_pairs: Iterable[tuple[str, str]] = (),
) -> Split:
    """Split for a closed vocabulary: each category keeps about its share, in the benchmark and in each set.

    Every category is trained on, and tested on as well where it has groups enough. Good images are shared
    out like a category of each set.

    Args:
        items: in any order; the result does not depend on it.
        test_share: of the images of each category, between 0 and 1.
        seed: of the order in which groups are offered.
        near_pairs: keys of images that are nearly the same; they are kept together.

    Raises:
        RtvpError: ``test_share`` is out of range, or an image is there twice.
    """
    if not 0 < test_share < 1:
        raise RtvpError(f"expected a test share between 0 and 1, got {test_share}")
    bundles = bundle(items, near_pairs)
    counts = {
        name: Counter(s for item in members for s in _strata(item)) for name, members in bundles.items()
    }
    held_out = choose_held_out(counts, test_share, shuffled(bundles, f"{CLOSED}/{seed}"))
    _train_every_category(bundles, held_out)
    sides: dict[str, Side] = {
        item.key: "test" if name in held_out else "train"
        for name, members in bundles.items()
        for item in members
    }
    seen = {a.name for members in bundles.values() for item in members for a in item.annotations}
    return Split(CLOSED, dict(sorted(sides.items())), seen=tuple(sorted(seen)))


def bundle(items: Iterable[Item], near_pairs: Iterable[tuple[str, str]] = ()) -> dict[str, list[Item]]:
    """Images that must stay on one side: those of one group, copies of a file, and near-duplicates.

    Args:
        items: in any order.
        near_pairs: keys of near-duplicates; a pair of which one is not among ``items`` joins nothing.

    Returns:
        Name of a bundle (the first of its groups) -> its images, both in sorted order.

    Raises:
        RtvpError: an image occurs twice.
    """
    ordered = sorted(items, key=lambda item: item.key)
    group_of = {item.key: item.group for item in ordered}
    if len(group_of) != len(ordered):
        twice = next(a.key for a, b in pairwise(ordered) if a.key == b.key)
        raise RtvpError(f"expected every image once, got {twice} twice")
    parents = {group: group for group in group_of.values()}
    first_with: dict[str, str] = {}
    for item in ordered:
        if item.sha256:
            _join(parents, item.group, first_with.setdefault(item.sha256, item.group))
    for one, other in near_pairs:
        if one in group_of and other in group_of:
            _join(parents, group_of[one], group_of[other])
    bundles: dict[str, list[Item]] = defaultdict(list)
    for item in ordered:
        bundles[_root(parents, item.group)].append(item)
    return dict(sorted(bundles.items()))


def shuffled(names: Iterable[str], salt: str) -> list[str]:
    """``names`` in an order that looks random, and in which no two swap when others come or go."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{salt}/{name}".encode()).digest(), name))


def _root(parents: dict[str, str], group: str) -> str:
    while parents[group] != group:
        parents[group] = parents[parents[group]]
        group = parents[group]
    return group


def _join(parents: dict[str, str], one: str, other: str) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first


def _strata(item: Item) -> list[str]:
    """What an image counts for: its categories, in the benchmark and in its set, or the good of its set."""
    names = sorted({annotation.name for annotation in item.annotations})
    return [*names, *(f"{name}\0{item.source}" for name in names or [_GOOD])]


def _train_every_category(bundles: Mapping[str, Sequence[Item]], held_out: set[str]) -> None:
    """Take bundles out of ``held_out``, small ones first, until every category is in a training image."""
    categories = {
        name: {annotation.name for item in members for annotation in item.annotations}
        for name, members in bundles.items()
    }
    trained = {category for name, shown in categories.items() if name not in held_out for category in shown}
    for name in sorted(held_out, key=lambda name: (len(bundles[name]), name)):
        if not categories[name] <= trained:
            held_out.remove(name)
            trained |= categories[name]


def split_by_group(
    images: Iterable[ImageRecord], validation_share: float = 0.2, seed: int = 0
) -> tuple[tuple[ImageRecord, ...], tuple[ImageRecord, ...]]:
    """Split images so that no group is on both sides and each category keeps about its share.

    Greedy, in the spirit of the iterative stratification of Sechidis et al. (2011), with groups in place of
    samples: for each category, rare ones first, its groups are offered to the validation side in random
    order, which takes those that bring its share, and the shares of all their categories together, nearer
    to ``validation_share``. A category of two groups or more is validated at least once; one with a
    single group is trained on.

    Args:
        images: in any order; the result does not depend on it.
        validation_share: of the images of each category, between 0 and 1.
        seed: of the random order.

    Returns:
        Training and validation images, sorted by path.

    Raises:
        RtvpError: ``validation_share`` is not between 0 and 1.
    """
    if not 0 < validation_share < 1:
        raise RtvpError(f"expected a validation share between 0 and 1, got {validation_share}")
    groups: dict[str, list[ImageRecord]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.path):
        groups[image.group].append(image)
    counts = {group: _count_categories(members) for group, members in sorted(groups.items())}
    order = list(counts)
    random.Random(seed).shuffle(order)
    validation = choose_held_out(counts, validation_share, order)
    sides: tuple[list[ImageRecord], list[ImageRecord]] = ([], [])
    for group, members in groups.items():
        sides[group in validation].extend(members)
    train, held_out = (tuple(sorted(side, key=lambda image: image.path)) for side in sides)
    return train, held_out


def _count_categories(images: list[ImageRecord]) -> Counter[str]:
    """How many of the images show each category."""
    # Sorted, as costs are sums over categories: a set's order differs between runs, and so would rounding.
    return Counter(
        name for image in images for name in sorted({item.name for item in image.annotations} or {_GOOD})
    )


def choose_held_out(counts: Mapping[str, Counter[str]], share: float, order: Sequence[str]) -> set[str]:
    """The groups to hold out, of those in ``counts`` (group -> images per category), offered in ``order``."""
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    spread = Counter(category for count in counts.values() for category in count)
    wanted = {c: max(share, 1 / n) if spread[c] > 1 else 0.0 for c, n in total.items()}
    held: Counter[str] = Counter()
    members: dict[str, list[str]] = defaultdict(list)
    for group in order:
        for category in counts[group]:
            members[category].append(group)

    def cost(group: str, category: str) -> float:
        """How much worse (better, if negative) the share of the category gets by holding out the group."""
        now, then = held[category], held[category] + counts[group][category]
        goal, size = wanted[category], total[category]
        return (then / size - goal) ** 2 - (now / size - goal) ** 2

    def cost_of(group: str) -> float:
        return sum(cost(group, category) for category in counts[group])

    held_out: set[str] = set()
    for category in sorted(total, key=lambda c: (total[c], c)):
        for group in members[category]:
            if group not in held_out and cost(group, category) < 0 and cost_of(group) < 0:
                held_out.add(group)
                held.update(counts[group])
        if spread[category] > 1 and not held[category]:
            cheapest = min(members[category], key=cost_of)
            held_out.add(cheapest)
            held.update(counts[cheapest])
    return held_out
