"""Pictures of the statistics, by matplotlib, which is imported only when one is drawn.

The same statistics give the same bytes under one version of matplotlib: its settings file is not read,
nothing is dated, and the ids in an SVG are derived from a fixed salt.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rtvp.mmio.plot_style import (
    BAND_COLOURS,
    BOX_COLOUR,
    GOOD_COLOUR,
    LIGHT,
    Theme,
    add_legend,
    bare,
    bars_between,
    label_bars,
    new_figure,
    settings,
    super_category_colours,
)
from rtvp.mmio.statistics import COMMON_IMAGES, LARGE_SIDE, MEDIUM_SIDE, RARE_IMAGES
from rtvp.mmio.statistics_schema import BANDS, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 150
FLOOR = 0.8  # of the logarithmic axis, so that a single box has a bar
MAX_BOXES_SHOWN = 20  # images of more boxes share the last bar
NAMED_SIZES = 8
SIDE_TICKS = (2, 8, MEDIUM_SIDE, LARGE_SIDE, 256, 1024, 4096)
RELATIVE_TICKS = {1 / 256: "0.4%", 1 / 64: "1.6%", 1 / 16: "6%", 1 / 4: "25%", 1.0: "100%"}
LARGEST_DISC = 900.0  # points^2


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        title: what it shows.
        describe: says in a sentence or two what is to be seen, for readers who cannot see it as well.
        draw: makes the figure, in the colours of a theme.
    """

    title: str
    describe: Callable[[Statistics], str]
    draw: Callable[[Statistics, Theme], Figure]


def render_plot(name: str, stats: Statistics, kind: Literal["png", "svg"], theme: Theme = LIGHT) -> bytes:
    """The plot ``name`` of :data:`PLOTS` as the content of an image file.

    Raises:
        RtvpError: matplotlib is not installed.
    """
    with settings(theme) as left_out, warnings.catch_warnings():
        # Its font lacks some scripts: such names are legible in the tables only.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = PLOTS[name].draw(stats, theme)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=PNG_DPI, metadata=left_out[kind])
    return file.getvalue()


def _describe_categories(stats: Statistics) -> str:
    tail, categories = stats["long_tail"], stats["categories"]
    if not categories:
        return "There is no category."
    most, least = next(iter(categories)), next(reversed(categories))
    return (
        f"Boxes of each of the {len(categories)} categories on a logarithmic axis, from {most} "
        f"({categories[most]['boxes']:,}) to {least} ({categories[least]['boxes']:,}). "
        "Where a bar has several colours, its height is shared out as the super-categories share its boxes. "
        f"More than {COMMON_IMAGES} images show each of {tail['frequent']} categories, "
        f"{RARE_IMAGES} or fewer each of {tail['rare']}."
    )


def _draw_categories(stats: Statistics, theme: Theme) -> Figure:
    categories, colours = stats["categories"], super_category_colours(list(stats["super_categories"]))
    figure = new_figure(max(7.0, 1.2 + 0.16 * len(categories)), 5.2)
    axes = figure.add_subplot()
    bare(axes, grid="y")
    axes.set_ylabel("boxes (logarithmic)")
    if not categories:
        return figure
    axes.set_yscale("log")
    for x, numbers in enumerate(categories.values()):
        bottom, shown = FLOOR, 0
        for name, boxes in numbers["super_categories"].items():
            shown += boxes
            # A share of the drawn height: on a logarithmic axis that is a power of the count.
            top = FLOOR * (numbers["boxes"] / FLOOR) ** (shown / numbers["boxes"])
            axes.bar(x, top - bottom, bottom=bottom, width=0.78, color=colours[name])
            bottom = top
        axes.annotate(
            f"{numbers['boxes']:,}", (x, bottom), (0, 3), textcoords="offset points", rotation=90,
            ha="center", va="bottom", fontsize=6.5, color=theme.quiet,
        )  # fmt: skip
    axes.set_xticks(range(len(categories)), list(categories), rotation=90, fontsize=7.5)
    axes.set_xlim(-0.8, len(categories) - 0.2)
    axes.set_ylim(FLOOR, 3 * next(iter(categories.values()))["boxes"])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    add_legend(figure, colours, 6 if len(categories) > 50 else 3)
    return figure


def _describe_super_categories(stats: Statistics) -> str:
    totals = stats["totals"]
    parts = "; ".join(
        f"{name}: {numbers['boxes']:,} boxes, {numbers['images']:,} images"
        for name, numbers in stats["super_categories"].items()
    )
    return f"{totals['good']:,} of {totals['images']:,} images are good. {parts}."


def _draw_super_categories(stats: Statistics, theme: Theme) -> Figure:
    parts = stats["super_categories"]
    colours = [super_category_colours(list(parts))[name] for name in parts]
    rows = range(len(parts))
    boxes = [numbers["boxes"] for numbers in parts.values()]
    images = [numbers["images"] for numbers in parts.values()]
    good = [numbers["good"] for numbers in parts.values()]
    defective = [total - fine for total, fine in zip(images, good, strict=True)]
    figure = new_figure(9, 0.8 + 0.36 * max(1, len(parts)))
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_title("boxes", loc="left", fontsize=9)
    left.barh(rows, boxes, color=colours, height=0.7)
    label_bars(left, boxes, [f"{count:,}" for count in boxes], theme)
    left.set_yticks(rows, list(parts))
    left.invert_yaxis()
    right.set_title("images (the pale part is good)", loc="left", fontsize=9)
    right.barh(rows, defective, color=colours, height=0.7)
    right.barh(
        rows, good, left=defective, height=0.7, facecolor=theme.grid, edgecolor=theme.quiet, linewidth=0.6
    )
    texts = [f"{total:,} ({fine:,} good)" for total, fine in zip(images, good, strict=True)]
    label_bars(right, images, texts, theme)
    for axes in (left, right):
        bare(axes)
    return figure


def _describe_scenes(stats: Statistics) -> str:
    scenes = stats["scenes"]
    if not scenes:
        return "There is no scene."
    most, least = next(iter(scenes)), next(reversed(scenes))
    return (
        f"Boxes of each of the {len(scenes)} scenes, from {most} ({scenes[most]['boxes']:,}) to {least} "
        f"({scenes[least]['boxes']:,})."
    )


def _draw_scenes(stats: Statistics, theme: Theme) -> Figure:
    scenes = stats["scenes"]
    colours = super_category_colours(list(stats["super_categories"]))
    figure = new_figure(9, 1.0 + 0.27 * max(1, len(scenes)))
    axes = figure.add_subplot()
    boxes = [numbers["boxes"] for numbers in scenes.values()]
    shown = [colours[next(iter(numbers["super_categories"]))] for numbers in scenes.values()]
    axes.barh(range(len(scenes)), boxes, color=shown, height=0.72)
    label_bars(axes, boxes, [f"{n['boxes']:,} in {n['images']:,} images" for n in scenes.values()], theme)
    axes.set_yticks(range(len(scenes)), list(scenes))
    axes.invert_yaxis()
    bare(axes)
    add_legend(figure, colours, 3)
    return figure


def _describe_box_sizes(stats: Statistics) -> str:
    sizes, total = stats["box_sizes"], max(1, stats["totals"]["boxes"])
    small, medium, large = (sizes["coco"][band] / total for band in BANDS)
    return (
        f"By COCO's areas {small:.0%} of the boxes are small (below {MEDIUM_SIDE} x {MEDIUM_SIDE} px), "
        f"{medium:.0%} medium, {large:.0%} large (from {LARGE_SIDE} x {LARGE_SIDE} px). "
        f"The median box has a side of {sizes['side_spread']['median']:.0f} px, "
        f"{sizes['relative_spread']['median']:.1%} of its image's."
    )


def _draw_box_sizes(stats: Statistics, theme: Theme) -> Figure:
    sizes, total = stats["box_sizes"], max(1, stats["totals"]["boxes"])
    figure = new_figure(9, 3.4)
    left, right = figure.subplots(1, 2)
    edges = sizes["side"]["edges"]
    bands = [
        BAND_COLOURS["small" if edge < MEDIUM_SIDE else "medium" if edge < LARGE_SIDE else "large"]
        for edge in edges[:-1]
    ]
    bars_between(left, sizes["side"], bands, {tick: str(tick) for tick in SIDE_TICKS}, theme)
    left.set_xlabel("square root of the box's area, px")
    left.set_ylabel("boxes")
    shares = {f"{band} {sizes['coco'][band] / total:.0%}": BAND_COLOURS[band] for band in BANDS}
    add_legend(figure, shares, 3)
    one_colour = [BOX_COLOUR] * len(sizes["relative"]["counts"])
    bars_between(right, sizes["relative"], one_colour, RELATIVE_TICKS, theme)
    right.set_xlabel("square root of the box's share of its image")
    return figure


def _describe_boxes_per_image(stats: Statistics) -> str:
    totals = stats["totals"]
    most = max((int(boxes) for boxes in stats["boxes_per_image"]), default=0)
    mean = totals["boxes"] / max(1, totals["defective"])
    return (
        f"Good images, which have none: {totals['good']:,}. Those with defects: {totals['defective']:,}; "
        f"on average {mean:.1f} boxes, at most {most:,}."
    )


def _draw_boxes_per_image(stats: Statistics, theme: Theme) -> Figure:
    heights = [0] * (MAX_BOXES_SHOWN + 1)
    for boxes, images in stats["boxes_per_image"].items():
        heights[min(int(boxes), MAX_BOXES_SHOWN)] += images
    figure = new_figure(9, 3.0)
    axes = figure.add_subplot()
    bare(axes, grid="y")
    colours = [GOOD_COLOUR] + [BOX_COLOUR] * MAX_BOXES_SHOWN
    bars = axes.bar(range(len(heights)), heights, width=0.8, color=colours)
    axes.bar_label(bars, [f"{h:,}" if h else "" for h in heights], padding=2, fontsize=7.5, color=theme.quiet)
    axes.set_ylim(0, 1.12 * max(heights) or 1)
    names = ["0\n(good)", *map(str, range(1, MAX_BOXES_SHOWN)), f"{MAX_BOXES_SHOWN}\nor more"]
    axes.set_xticks(range(len(heights)), names)
    axes.set_xlim(-0.6, len(heights) - 0.4)
    axes.set_ylabel("images")
    axes.set_xlabel("boxes in the image")
    return figure


def _describe_image_sizes(stats: Statistics) -> str:
    sizes = stats["image_sizes"]
    if not sizes["listed"]:
        return "There is no image."
    width, height, images = sizes["listed"][0]
    more = f" {sizes['others']:,} images of rarer sizes are not drawn." if sizes["others"] else ""
    return (
        f"{sizes['distinct']:,} sizes; most images ({images:,}) have {width} x {height} px. "
        f"The area of a disc is the number of images of that size.{more}"
    )


def _draw_image_sizes(stats: Statistics, theme: Theme) -> Figure:
    listed = stats["image_sizes"]["listed"]
    figure = new_figure(7.6, 5.0)
    axes = figure.add_subplot()
    bare(axes, grid="both")
    axes.set_xlabel("width, px")
    axes.set_ylabel("height, px")
    if not listed:
        return figure
    widths, heights, images = (list(column) for column in zip(*listed, strict=True))
    areas = [max(8.0, LARGEST_DISC * count / images[0]) for count in images]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.scatter(widths, heights, areas, color=BOX_COLOUR, alpha=0.45, edgecolor=theme.ink, linewidth=0.5)
    low, high = 0.7 * min(widths + heights), 1.5 * max(widths + heights)
    ticks = [2**power for power in range(32) if low <= 2**power <= high]
    for set_ticks, set_limits in ((axes.set_xticks, axes.set_xlim), (axes.set_yticks, axes.set_ylim)):
        set_ticks(ticks, [str(tick) for tick in ticks])
        set_limits(low, high)
    axes.minorticks_off()
    lines = [f"{width} x {height}: {count:,}" for width, height, count in listed[:NAMED_SIZES]]
    axes.annotate(
        "\n".join(["most images", *lines]), (1.02, 1), xycoords="axes fraction", va="top", fontsize=8,
        color=theme.quiet, linespacing=1.5,
    )  # fmt: skip
    return figure


PLOTS: Mapping[str, Plot] = {
    "categories": Plot("Instances per category: the long tail", _describe_categories, _draw_categories),
    "super_categories": Plot(
        "Instances and images per super-category", _describe_super_categories, _draw_super_categories
    ),
    "scenes": Plot("Instances per scene", _describe_scenes, _draw_scenes),
    "box_sizes": Plot("Sizes of boxes", _describe_box_sizes, _draw_box_sizes),
    "boxes_per_image": Plot("Boxes per image", _describe_boxes_per_image, _draw_boxes_per_image),
    "image_sizes": Plot("Sizes of images", _describe_image_sizes, _draw_image_sizes),
}
