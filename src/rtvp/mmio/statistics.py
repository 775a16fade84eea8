"""The benchmark in numbers: its row of the paper's Table 1, and what the paper's Figure 2c shows."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rtvp.errors import RtvpError
from rtvp.mmio.schema import Box, Item
from rtvp.mmio.splits import Split
from rtvp.mmio.statistics_schema import (
    Band,
    Beyond,
    CategoryNumbers,
    Histogram,
    ImageSizes,
    LongTail,
    PartNumbers,
    Sizes,
    SplitNumbers,
    Spread,
    Statistics,
)
from rtvp.mmio.taxonomy import Taxonomy

# COCO's limits between small, medium and large, as the side of a square of that area, px.
MEDIUM_SIDE, LARGE_SIDE = 32, 96

# LVIS's limits: a category is rare up to the first number of images, common up to the second.
RARE_IMAGES, COMMON_IMAGES = 10, 100

# Bins are even on a logarithmic scale and meet COCO's limits: 32 * 3^(k/4) is 32 at k = 0 and 96 at k = 4.
SIDE_EDGES = tuple(MEDIUM_SIDE * 3.0 ** (k / 4) for k in range(-13, 23))
RELATIVE_EDGES = tuple(2.0 ** (k / 2) for k in range(-18, 1))

LISTED_SIZES = 1000  # image sizes that are listed one by one; the rest is counted


def statistics(
    items: Iterable[Item],
    scene_of: Mapping[str, str],
    super_category_of: Mapping[str, str],
    taxonomy: Taxonomy,
    splits: Sequence[Split] = (),
) -> Statistics:
    """Count a benchmark. Areas are those of boxes, in pixels of the original images.

    Args:
        items: its images; the result does not depend on their order.
        scene_of: source -> scene.
        super_category_of: source -> super-category.
        taxonomy: what the whole benchmark would hold.
        splits: of these images.

    Returns:
        A plain dictionary that ``json.dumps`` takes; see :class:`Statistics` for its keys.

    Raises:
        RtvpError: a source has no scene or no super-category.
    """
    tally = _Tally()
    in_splits = [_SplitTally(split) for split in splits]
    for item in items:
        scene = _of_source(scene_of, item.source, "scene")
        tally.add(item, scene, _of_source(super_category_of, item.source, "super-category"))
        for split in in_splits:
            split.add(item)
    whole, boxes = tally.whole, tally.whole.boxes
    return {
        "table_1": {
            "dataset": "This build",
            "classes": len(tally.categories),
            "images": whole.images,
            "scenes": len(tally.scenes),
            "modal": "Text, Image",
        },
        "totals": {
            "sources": len(whole.sources),
            "scenes": len(tally.scenes),
            "super_categories": len(tally.supers),
            "categories": len(tally.categories),
            "images": whole.images,
            "defective": whole.images - whole.good,
            "good": whole.good,
            "boxes": boxes,
        },
        "long_tail": _long_tail(tally.categories),
        "categories": {name: part.as_category() for name, part in _most_boxes_first(tally.categories)},
        "scenes": {name: part.as_part() for name, part in _most_boxes_first(tally.scenes)},
        "super_categories": {name: part.as_part() for name, part in _most_boxes_first(tally.supers)},
        "box_sizes": {
            "coco": whole.sizes(),
            "side": _histogram(tally.sides, SIDE_EDGES),
            "side_spread": _spread(tally.sides),
            "relative": _histogram(tally.relative_sides, RELATIVE_EDGES),
            "relative_spread": _spread(tally.relative_sides),
        },
        "boxes_per_image": {str(count): tally.per_image[count] for count in sorted(tally.per_image)},
        "image_sizes": _image_sizes(tally.image_sizes),
        "splits": {split.name: split.numbers for split in in_splits},
        "taxonomy": _beyond(taxonomy, set(tally.categories), set(tally.scenes), set(tally.supers)),
    }


class _Tally:
    """Counts over all images, by every part that is reported."""

    def __init__(self) -> None:
        self.whole = _Part()
        self.scenes: dict[str, _Part] = defaultdict(_Part)
        self.supers: dict[str, _Part] = defaultdict(_Part)
        self.categories: dict[str, _Part] = defaultdict(_Part)
        self.per_image: Counter[int] = Counter()
        self.image_sizes: Counter[tuple[int, int]] = Counter()
        self.sides: list[float] = []
        self.relative_sides: list[float] = []

    def add(self, item: Item, scene: str, super_category: str) -> None:
        for part in (self.whole, self.scenes[scene], self.supers[super_category]):
            part.add(item, scene, super_category)
        for name in {annotation.name for annotation in item.annotations}:
            self.categories[name].add(item, scene, super_category, name)
        self.per_image[len(item.annotations)] += 1
        self.image_sizes[item.width, item.height] += 1
        for annotation in item.annotations:
            side = math.sqrt(_area(annotation.box_xyxy))
            self.sides.append(side)
            self.relative_sides.append(side / math.sqrt(item.width * item.height))


class _Part:
    """Counts over some of the images: all, or those of one scene, super-category or category."""

    def __init__(self) -> None:
        self.images = self.good = self.boxes = 0
        self.sources: set[str] = set()
        self.scenes: Counter[str] = Counter()
        self.super_categories: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.bands: Counter[Band] = Counter()

    def add(self, item: Item, scene: str, super_category: str, only: str | None = None) -> None:
        """Count an image with its boxes, or with those of the category ``only``."""
        boxes = [a for a in item.annotations if only is None or a.name == only]
        self.images += 1
        self.good += not item.annotations
        self.boxes += len(boxes)
        self.sources.add(item.source)
        # Of a category the boxes are shared out, of a part the images: those without boxes count too.
        weight = 1 if only is None else len(boxes)
        self.scenes[scene] += weight
        self.super_categories[super_category] += weight
        self.categories.update(a.name for a in boxes)
        self.bands.update(size_band(a.box_xyxy) for a in boxes)

    def sizes(self) -> Sizes:
        return {"small": self.bands["small"], "medium": self.bands["medium"], "large": self.bands["large"]}

    def as_category(self) -> CategoryNumbers:
        return {
            "boxes": self.boxes,
            "images": self.images,
            "sizes": self.sizes(),
            "super_categories": _most_first(self.super_categories),
            "scenes": _most_first(self.scenes),
        }

    def as_part(self) -> PartNumbers:
        return {
            "sources": sorted(self.sources),
            "scenes": sorted(self.scenes),
            "super_categories": _most_first(self.super_categories),
            "images": self.images,
            "good": self.good,
            "boxes": self.boxes,
            "sizes": self.sizes(),
            "categories": _most_first(self.categories),
        }


class _SplitTally:
    """Counts over the images of one split."""

    def __init__(self, split: Split) -> None:
        self.name = split.name
        self._sides = split.sides
        self._unseen = frozenset(split.unseen)
        self.numbers: SplitNumbers = {
            "train_images": 0,
            "test_images": 0,
            "left_out": len(split.left_out),
            "train_boxes": 0,
            "test_boxes": 0,
            "seen": len(split.seen),
            "unseen": len(split.unseen),
            "seen_images": 0,
            "unseen_images": 0,
            "unseen_boxes": 0,
        }

    def add(self, item: Item) -> None:
        side = self._sides.get(item.key)
        if side == "train":
            self.numbers["train_images"] += 1
            self.numbers["train_boxes"] += len(item.annotations)
            self.numbers["seen_images"] += bool(item.annotations)
        elif side == "test":
            unseen = sum(annotation.name in self._unseen for annotation in item.annotations)
            self.numbers["test_images"] += 1
            self.numbers["test_boxes"] += len(item.annotations)
            self.numbers["unseen_images"] += unseen > 0
            self.numbers["unseen_boxes"] += unseen


def size_band(box: Box) -> Band:
    """``small``, ``medium`` or ``large``, by the area of ``box`` (xyxy, px)."""
    area = _area(box)
    if area < MEDIUM_SIDE**2:
        return "small"
    return "medium" if area < LARGE_SIDE**2 else "large"


def _area(box: Box) -> float:
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def _of_source(table: Mapping[str, str], source: str, what: str) -> str:
    try:
        return table[source]
    except KeyError:
        known = ", ".join(sorted(table)) or "none"
        raise RtvpError(
            f"expected the {what} of every source, got none for {source!r}: add it to the table of sources "
            f"(it has {known})"
        ) from None


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _most_boxes_first(parts: Mapping[str, _Part]) -> list[tuple[str, _Part]]:
    return sorted(parts.items(), key=lambda entry: (-entry[1].boxes, entry[0]))


def _long_tail(categories: Mapping[str, _Part]) -> LongTail:
    images = [part.images for part in categories.values()]
    boxes = [part.boxes for part in categories.values()]
    return {
        "rare": sum(count <= RARE_IMAGES for count in images),
        "common": sum(RARE_IMAGES < count <= COMMON_IMAGES for count in images),
        "frequent": sum(count > COMMON_IMAGES for count in images),
        "imbalance": round(max(boxes) / min(boxes), 2) if boxes else 0.0,
    }


def _histogram(values: list[float], edges: tuple[float, ...]) -> Histogram:
    # Compared with the inner edges only, so that the end bins take what lies beyond them.
    bins = np.searchsorted(edges[1:-1], values, side="right")
    counts = np.bincount(bins, minlength=len(edges) - 1)
    return {"edges": [round(edge, 6) for edge in edges], "counts": counts.tolist()}


def _spread(values: list[float]) -> Spread:
    points = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)) if values else np.zeros(5)
    low, quarter, median, three_quarters, high = (round(float(point), 4) for point in points)
    return {"min": low, "quarter": quarter, "median": median, "three_quarters": three_quarters, "max": high}


def _image_sizes(sizes: Counter[tuple[int, int]]) -> ImageSizes:
    ordered = sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "distinct": len(ordered),
        "listed": [[width, height, images] for (width, height), images in ordered[:LISTED_SIZES]],
        "others": sum(images for _, images in ordered[LISTED_SIZES:]),
        "width": _spread([float(width) for (width, _), n in ordered for _ in range(n)]),
        "height": _spread([float(height) for (_, height), n in ordered for _ in range(n)]),
    }


def _beyond(taxonomy: Taxonomy, categories: set[str], scenes: set[str], supers: set[str]) -> Beyond:
    known = set(taxonomy.categories)
    return {
        "expected_categories": len(known),
        "missing_categories": sorted(known - categories),
        "missing_scenes": sorted(set(taxonomy.scenes) - scenes),
        "missing_super_categories": sorted(set(taxonomy.super_categories) - supers),
        "unknown_categories": sorted(categories - known),
    }
