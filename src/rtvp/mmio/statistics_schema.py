"""The keys of the benchmark's statistics, and the row that the paper gives."""

from __future__ import annotations

from typing import Literal, TypedDict

Band = Literal["small", "medium", "large"]
BANDS: tuple[Band, ...] = ("small", "medium", "large")


class Table1Row(TypedDict):
    """One row of Table 1 of the paper."""

    dataset: str
    classes: int
    images: int
    scenes: int
    modal: str


PAPER_TABLE_1: tuple[Table1Row, ...] = (
    {"dataset": "MVTec AD", "classes": 15, "images": 5_354, "scenes": 15, "modal": "Image"},
    {"dataset": "BTAD", "classes": 3, "images": 2_830, "scenes": 3, "modal": "Image"},
    {"dataset": "VisA", "classes": 12, "images": 10_821, "scenes": 12, "modal": "Image"},
    {"dataset": "Ind", "classes": 30, "images": 600_000, "scenes": 11, "modal": "Image"},
    {"dataset": "MS-COCO", "classes": 80, "images": 118_000, "scenes": 1, "modal": "Image"},
    {"dataset": "VOC2007", "classes": 20, "images": 9_963, "scenes": 1, "modal": "Image"},
    {"dataset": "MMIO-80K (paper)", "classes": 100, "images": 21_836, "scenes": 18, "modal": "Text, Image"},
)

# What the text of the paper says beyond its table.
PAPER_SUPER_CATEGORIES = 6
PAPER_BOXES = 80_000  # "80K+"
PAPER_SEEN_IMAGES, PAPER_UNSEEN_IMAGES = 18_811, 3_025  # of its zero-shot split


class Sizes(TypedDict):
    """Number of boxes by COCO's areas: below 32^2 px, below 96^2 px, the rest."""

    small: int
    medium: int
    large: int


class Histogram(TypedDict):
    """``counts[i]`` values lie from ``edges[i]`` up to ``edges[i + 1]``; the end bins take the rest."""

    edges: list[float]
    counts: list[int]


class Spread(TypedDict):
    """Five order statistics; all 0 where there is no value."""

    min: float
    quarter: float
    median: float
    three_quarters: float
    max: float


class Totals(TypedDict):
    """Of the whole benchmark; ``defective`` and ``good`` images add up to ``images``."""

    sources: int
    scenes: int
    super_categories: int
    categories: int
    images: int
    defective: int
    good: int
    boxes: int


class CategoryNumbers(TypedDict):
    """Of one category: its boxes, the images that show it, and its boxes by super-category and scene."""

    boxes: int
    images: int
    sizes: Sizes
    super_categories: dict[str, int]
    scenes: dict[str, int]


class PartNumbers(TypedDict):
    """Of one scene or super-category; ``categories`` counts boxes, ``super_categories`` images."""

    sources: list[str]
    scenes: list[str]
    super_categories: dict[str, int]
    images: int
    good: int
    boxes: int
    sizes: Sizes
    categories: dict[str, int]


class BoxSizes(TypedDict):
    """``side`` is the square root of a box's area, px, ``relative`` that of its share of the image."""

    coco: Sizes
    side: Histogram
    side_spread: Spread
    relative: Histogram
    relative_spread: Spread


class LongTail(TypedDict):
    """How uneven the categories are: LVIS's three bands by images, and most boxes over fewest."""

    rare: int
    common: int
    frequent: int
    imbalance: float


class ImageSizes(TypedDict):
    """``listed`` holds [width, height, images], most images first; ``others`` images have other sizes."""

    distinct: int
    listed: list[list[int]]
    others: int
    width: Spread
    height: Spread


class Beyond(TypedDict):
    """Where the build and the taxonomy differ: what it lacks, and names that the taxonomy does not have."""

    expected_categories: int
    missing_categories: list[str]
    missing_scenes: list[str]
    missing_super_categories: list[str]
    unknown_categories: list[str]


class SplitNumbers(TypedDict):
    """Of one split: images of each side and of none, boxes, categories seen in training and not.

    ``seen_images`` are the training images with defects, ``unseen_images`` the test images that show an
    unseen category, ``unseen_boxes`` its boxes.
    """

    train_images: int
    test_images: int
    left_out: int
    train_boxes: int
    test_boxes: int
    seen: int
    unseen: int
    seen_images: int
    unseen_images: int
    unseen_boxes: int


class Statistics(TypedDict):
    """All numbers; what is written as stats.json.

    Keys: ``table_1`` the row of the paper's Table 1; ``totals``; ``long_tail``; ``categories``, ``scenes``
    and ``super_categories`` by name, most boxes first; ``box_sizes``; ``boxes_per_image`` as number of boxes
    (a string of digits, ascending) -> images; ``image_sizes``; ``splits`` by name; ``taxonomy`` what differs
    from it.
    """

    table_1: Table1Row
    totals: Totals
    long_tail: LongTail
    categories: dict[str, CategoryNumbers]
    scenes: dict[str, PartNumbers]
    super_categories: dict[str, PartNumbers]
    box_sizes: BoxSizes
    boxes_per_image: dict[str, int]
    image_sizes: ImageSizes
    splits: dict[str, SplitNumbers]
    taxonomy: Beyond
