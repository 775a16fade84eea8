"""Splits whose test images show what training never did: categories, meanings or scenes."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.mmio.categories import Embedder, name_cosines
from rtvp.mmio.names import shared_words
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Side, Split, bundle, shuffled

CATEGORY = "zero-shot/category"
MEANING = "zero-shot/meaning"
SCENE = "zero-shot/scene"

UNSEEN_SHARE = 0.35  # of the categories, as in the paper: 65 seen, 35 unseen
UNSEEN_SCENES = 0.25  # of the scenes
MAX_COSINE = 0.6  # of MiniLM, between names: 1 pair in 100 of different categories lies nearer

_KEPT = 0.5  # of its images, that a seen category has to keep for training
_DRAWS = 200  # random choices, of which the best is taken

_GROUP_SPANS = "shares a group with an image of an unseen {}"

Part = Literal["seen", "unseen", "good"]
Bundles = Mapping[str, Sequence[Item]]


def category_split(
    items: Iterable[Item],
    *,
    unseen_share: float = UNSEEN_SHARE,
    seed: int = 0,
    near_pairs: Iterable[tuple[str, str]] = (),
) -> Split:
    """Split as the paper does: some categories are unseen, and every image that shows one is tested on.

    Of many random choices, the one is taken that comes nearest to the share and wastes the fewest images.
    A group that shows both seen and unseen categories is never trained on: of its images, those that show an
    unseen category or are good are tested on, and those with nothing but seen categories are left out. A
    category that would keep less than half of its images for training is unseen, too. The good images of a
    set are shared out as its other images are.

    Args:
        items: in any order; the result does not depend on it.
        unseen_share: of the categories, between 0 and 1.
        seed: of the choices.
        near_pairs: keys of images that are nearly the same; they are kept together.

    Raises:
        RtvpError: ``unseen_share`` is out of range, an image is there twice, or no choice leaves
            categories on both sides.
    """
    bundles = bundle(items, near_pairs)
    units = [(name,) for name in _categories(bundles)]
    unseen = _choose_categories(CATEGORY, bundles, units, unseen_share, seed)
    return _split_by_category(CATEGORY, bundles, unseen, seed)


def meaning_split(
    items: Iterable[Item],
    embed: Embedder,
    *,
    unseen_share: float = UNSEEN_SHARE,
    max_cosine: float = MAX_COSINE,
    seed: int = 0,
    near_pairs: Iterable[tuple[str, str]] = (),
) -> Split:
    """Split like ``category_split``, with no unseen name that a seen one gives away.

    Names that share a content word, or the cosine of whose texts is ``max_cosine`` or more, are on the same
    side, and so are all that hang together in this way.

    Args:
        items: in any order; the result does not depend on it.
        embed: the text model.
        unseen_share: of the categories, between 0 and 1.
        max_cosine: what the cosine of a seen and an unseen name stays below.
        seed: of the choices.
        near_pairs: keys of images that are nearly the same; they are kept together.

    Raises:
        RtvpError: as for ``category_split``.
    """
    bundles = bundle(items, near_pairs)
    units = related_names(_categories(bundles), embed, max_cosine)
    unseen = _choose_categories(MEANING, bundles, units, unseen_share, seed)
    return _split_by_category(MEANING, bundles, unseen, seed, max_cosine)


def scene_split(
    items: Iterable[Item],
    scene_of: Mapping[str, str],
    *,
    unseen_share: float = UNSEEN_SCENES,
    seed: int = 0,
    near_pairs: Iterable[tuple[str, str]] = (),
) -> Split:
    """Split by scene: all images of some scenes are tested on, those of the others are trained on.

    Of many random choices, the one is taken in which the unseen scenes come nearest to the share, in number
    and in images. Images of a seen scene in a group that reaches into an unseen one are left out. Categories
    may occur on both sides; ``unseen`` names those that do not.

    Args:
        items: in any order; the result does not depend on it.
        scene_of: set -> scene.
        unseen_share: of the scenes, between 0 and 1.
        seed: of the choices.
        near_pairs: keys of images that are nearly the same; they are kept together.

    Raises:
        RtvpError: ``unseen_share`` is out of range, an image is there twice, a set has no scene, or
            there are not two scenes.
    """
    _check_share(unseen_share)
    bundles = bundle(items, near_pairs)
    images: Counter[str] = Counter()
    for item in (item for members in bundles.values() for item in members):
        if item.source not in scene_of:
            raise RtvpError(f"expected a scene for every set, got none for {item.source!r}")
        images[scene_of[item.source]] += 1
    if len(images) < 2:
        raise RtvpError(f"expected images of two scenes or more, got {', '.join(images) or 'none'}")
    count = min(max(round(unseen_share * len(images)), 1), len(images) - 1)
    rng = random.Random(f"{SCENE}/{seed}")
    draws = [sorted(rng.sample(sorted(images), count)) for _ in range(_DRAWS)]
    wanted = unseen_share * images.total()
    unseen = min(draws, key=lambda scenes: (abs(sum(images[scene] for scene in scenes) - wanted), scenes))

    def part_of(item: Item) -> Part:
        return "unseen" if scene_of[item.source] in unseen else "seen"

    sides, left_out = _sides(SCENE, bundles, part_of, "scene", seed)
    seen = _shown(bundles, sides, "train")
    only_tested = _shown(bundles, sides, "test") - seen
    return Split(SCENE, sides, left_out, tuple(sorted(seen)), tuple(sorted(only_tested)), tuple(unseen))


def related_names(names: Sequence[str], embed: Embedder, max_cosine: float) -> list[tuple[str, ...]]:
    """``names`` in parts, so that names of different parts share no content word and are less alike.

    Args:
        names: each once.
        embed: the text model.
        max_cosine: what the cosine of two names of different parts stays below.

    Returns:
        The parts, sorted.
    """
    cosines = name_cosines(names, names, embed)
    part = list(range(len(names)))
    for i, one in enumerate(names):
        for j in range(i):
            if part[i] != part[j] and (cosines[i, j] >= max_cosine or shared_words(one, names[j])):
                old, new = part[i], part[j]
                part = [new if number == old else number for number in part]
    parts: dict[int, list[str]] = defaultdict(list)
    for name, number in zip(names, part, strict=True):
        parts[number].append(name)
    return sorted(tuple(sorted(members)) for members in parts.values())


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise RtvpError(f"expected a share of unseen ones between 0 and 1, got {share}")


def _names(item: Item) -> frozenset[str]:
    return frozenset(annotation.name for annotation in item.annotations)


def _categories(bundles: Bundles) -> list[str]:
    return sorted({name for members in bundles.values() for item in members for name in _names(item)})


def _shown(bundles: Bundles, sides: Mapping[str, Side], side: Side) -> set[str]:
    shown = (item for members in bundles.values() for item in members if sides.get(item.key) == side)
    return {name for item in shown for name in _names(item)}


def _choose_categories(
    split: str, bundles: Bundles, units: Sequence[Sequence[str]], share: float, seed: int
) -> frozenset[str]:
    """The unseen categories: whole ``units`` of them."""
    _check_share(share)
    table = _Cooccurrence(bundles, units)
    rng = random.Random(f"{split}/{seed}")
    draws = [table.draw(share, rng) for _ in range(_DRAWS)]
    best = min(draws, key=lambda unseen: (table.cost(unseen, share), unseen.tolist()))
    if not best.any():
        raise RtvpError(
            f"{split}: no choice leaves categories on both sides, out of {len(table.names)} categories "
            f"in {len(units)} inseparable parts: give more images, or another share"
        )
    return frozenset(name for name, chosen in zip(table.names, best, strict=True) if chosen)


class _Cooccurrence:
    """Which categories occur together in bundles and images. A set of them is a row of booleans."""

    def __init__(self, bundles: Bundles, units: Sequence[Sequence[str]]) -> None:
        self.names = sorted(name for unit in units for name in unit)
        kinds: Counter[tuple[frozenset[str], frozenset[str]]] = Counter()
        for members in bundles.values():
            shown = [_names(item) for item in members]
            together = frozenset[str]().union(*shown)
            kinds.update((together, own) for own in shown if own)
        self._images = np.array(list(kinds.values()), np.int64)  # [kinds], of images
        self._together = self._rows([together for together, _ in kinds])  # what their bundle shows
        self._own = self._rows([own for _, own in kinds])  # what they show themselves
        self._units = self._rows(units)

    def _rows(self, sets: Sequence[Collection[str]]) -> NDArray[np.bool_]:
        rows = [[name in members for name in self.names] for members in sets]
        return np.array(rows, bool).reshape(len(sets), len(self.names))

    def draw(self, share: float, rng: random.Random) -> NDArray[np.bool_]:
        """A random set of units, as large as ``share`` allows; an empty one if none fits."""
        most = max(round(share * len(self.names)), 1)
        unseen = np.zeros(len(self.names), bool)
        for unit in rng.sample(range(len(self._units)), len(self._units)):
            wider = self._close(unseen | self._units[unit])
            if wider.sum() <= most and not wider.all():
                unseen = wider
        return unseen

    def cost(self, unseen: NDArray[np.bool_], share: float) -> float:
        """How far a choice is from the share, plus the share of images that it wastes.

        These are the images that it leaves out, those that show seen categories on the test side, and what it
        tests beyond the share.
        """
        if not unseen.any():
            return float("inf")
        tested = self._images[(self._own & unseen).any(axis=1)].sum()
        spanning = (self._together & unseen).any(axis=1) & (self._own & ~unseen).any(axis=1)
        total = self._images.sum()
        beyond = max(tested / total - share, 0.0)
        return float(abs(unseen.mean() - share) + self._images[spanning].sum() / total + beyond)

    def _close(self, unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``unseen`` with the units of all categories that it would take too many training images from."""
        needed = _KEPT * (self._images @ self._own)
        while True:
            trained = np.where((self._together & unseen).any(axis=1), 0, self._images) @ self._own
            starved = ~unseen & (trained < needed)
            if not starved.any():
                return unseen
            unseen = unseen | self._units[(self._units & starved).any(axis=1)].any(axis=0)


def _split_by_category(
    name: str, bundles: Bundles, unseen: frozenset[str], seed: int, max_cosine: float | None = None
) -> Split:
    def part_of(item: Item) -> Part:
        names = _names(item)
        return ("unseen" if names & unseen else "seen") if names else "good"

    sides, left_out = _sides(name, bundles, part_of, "category", seed)
    seen = tuple(category for category in _categories(bundles) if category not in unseen)
    return Split(name, sides, left_out, seen, tuple(sorted(unseen)), max_cosine=max_cosine)


def _sides(
    name: str, bundles: Bundles, part_of: Callable[[Item], Part], what: str, seed: int
) -> tuple[dict[str, Side], dict[str, str]]:
    """Each image's side, or why it has none."""
    sides: dict[str, Side] = {}
    left_out: dict[str, str] = {}
    good: dict[str, list[str]] = defaultdict(list)  # set -> bundles of nothing but good images
    placed: dict[str, Counter[Side]] = defaultdict(Counter)  # set -> images with defects on each side
    for key, members in bundles.items():
        parts = {item.key: part_of(item) for item in members}
        if set(parts.values()) == {"good"}:
            good[members[0].source].append(key)
            continue
        side: Side = "test" if "unseen" in parts.values() else "train"
        for item in members:
            if side == "test" and parts[item.key] == "seen":
                left_out[item.key] = _GROUP_SPANS.format(what)
            else:
                sides[item.key] = side
                placed[item.source][side] += parts[item.key] != "good"
    overall: Counter[Side] = sum(placed.values(), Counter())
    for source, keys in sorted(good.items()):
        counts = placed[source] if placed[source].total() else overall
        wanted = sum(len(bundles[key]) for key in keys) * counts["test"] / max(counts.total(), 1)
        tested = 0
        for key in shuffled(keys, f"{name}/{seed}"):
            size = len(bundles[key])
            to_test = tested + size / 2 <= wanted
            tested += size if to_test else 0
            sides.update((item.key, "test" if to_test else "train") for item in bundles[key])
    return dict(sorted(sides.items())), dict(sorted(left_out.items()))
