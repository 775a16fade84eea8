"""Training and validation parts that share no group."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable

from rtvp.errors import RtvpError
from rtvp.mmio.schema import ImageRecord

_GOOD = ""  # stands for "no defect" among the categories, so that good images are shared out too


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
    validation = _choose_validation(counts, validation_share, random.Random(seed))
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


def _choose_validation(counts: dict[str, Counter[str]], share: float, rng: random.Random) -> set[str]:
    """The groups to hold out, of those in ``counts`` (group -> images per category)."""
    total: Counter[str] = sum(counts.values(), Counter())
    spread = Counter(category for count in counts.values() for category in count)
    wanted = {c: max(share, 1 / n) if spread[c] > 1 else 0.0 for c, n in total.items()}
    held: Counter[str] = Counter()
    order = list(counts)
    rng.shuffle(order)

    def cost(group: str, category: str) -> float:
        """How much worse (better, if negative) the share of the category gets by holding out the group."""
        now, then = held[category], held[category] + counts[group][category]
        goal, size = wanted[category], total[category]
        return (then / size - goal) ** 2 - (now / size - goal) ** 2

    def cost_of(group: str) -> float:
        return sum(cost(group, category) for category in counts[group])

    validation: set[str] = set()
    for category in sorted(total, key=lambda c: (total[c], c)):
        members = [group for group in order if counts[group][category]]
        for group in members:
            if group not in validation and cost(group, category) < 0 and cost_of(group) < 0:
                validation.add(group)
                held += counts[group]
        if spread[category] > 1 and not held[category]:
            cheapest = min(members, key=cost_of)
            validation.add(cheapest)
            held += counts[cheapest]
    return validation
