"""The statistics, plots and contact sheets as one HTML page that needs no network and runs no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rtvp.mmio.page_style import STYLE
from rtvp.mmio.plots import PLOTS
from rtvp.mmio.statistics import COMMON_IMAGES, LARGE_SIDE, MEDIUM_SIDE, RARE_IMAGES
from rtvp.mmio.statistics_schema import (
    BANDS,
    PAPER_BOXES,
    PAPER_SEEN_IMAGES,
    PAPER_SUPER_CATEGORIES,
    PAPER_TABLE_1,
    PAPER_UNSEEN_IMAGES,
    PartNumbers,
    Sizes,
    Statistics,
)

CATEGORY_SPLIT = "zero-shot/category"  # the split of the paper

# Even a name that came through unescaped could load nothing and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class PagePlot:
    """A plot for either background, as the content of SVG files."""

    light: bytes
    dark: bytes


@dataclass(frozen=True, slots=True)
class PageSheet:
    """The contact sheet of a scene.

    Attributes:
        scene: its name.
        jpeg: content of the image file; None where no image could be shown.
        width: px.
        height: px.
        examples: what each cell shows, in words.
        skipped: images that could not be shown, and why.
    """

    scene: str
    jpeg: bytes | None
    width: int
    height: int
    examples: tuple[str, ...]
    skipped: tuple[str, ...]


def report_page(
    title: str, stats: Statistics, plots: Mapping[str, PagePlot], sheets: Sequence[PageSheet]
) -> str:
    """The page.

    Args:
        title: its heading.
        stats: of the benchmark.
        plots: by their names in :data:`rtvp.mmio.plots.PLOTS`.
        sheets: one for each scene.
    """
    sections = {
        "paper": ("Beside the paper", _paper_section(stats)),
        "plots": ("Plots", "".join(_plot(name, plot, stats) for name, plot in plots.items())),
        "scenes": ("Super-categories and scenes", _parts_section(stats)),
        "categories": ("Categories", _categories_section(stats)),
        "splits": ("Splits", _splits_section(stats)),
        "examples": ("Examples", "".join(_sheet(number, sheet) for number, sheet in enumerate(sheets))),
        "counting": ("How it was counted", _counting_section()),
    }
    shown = {key: section for key, section in sections.items() if section[1]}
    links = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, (name, _) in shown.items())
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{content}</section>\n'
        for key, (name, content) in shown.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">Skip to the numbers</a>\n<header><h1>{escape(title)}</h1>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n'
        f'<main id="main">\n{_tiles(stats)}{body}</main>\n</body>\n</html>\n'
    )


def _tiles(stats: Statistics) -> str:
    totals = stats["totals"]
    numbers = {
        "categories": totals["categories"],
        "scenes": totals["scenes"],
        "super-categories": totals["super_categories"],
        "public sets": totals["sources"],
        "images": totals["images"],
        "of them good": totals["good"],
        "boxes": totals["boxes"],
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{number:,}</dd></div>" for name, number in numbers.items())
    return f'<dl class="tiles">{tiles}</dl>\n'


def _paper_section(stats: Statistics) -> str:
    rows: list[list[str | int]] = [
        [row["dataset"], row["classes"], row["images"], row["scenes"], row["modal"]]
        for row in (*PAPER_TABLE_1, stats["table_1"])
    ]
    table_1 = _table(
        "Table 1 of the paper, as printed there, with a row for this build.",
        ["Data set", "Classes", "Images", "Scenes", "Modal"],
        rows,
        marked=len(rows) - 1,
    )
    return (
        table_1
        + _table(
            "MMIO-80K as the paper describes it, and this build. The paper counts images with defects only.",
            ["", "Paper", "This build", "Share"],
            _paper_rows(stats),
        )
        + _missing(stats)
    )


def _paper_rows(stats: Statistics) -> list[list[str | int]]:
    totals, paper = stats["totals"], PAPER_TABLE_1[-1]
    split = stats["splits"].get(CATEGORY_SPLIT)
    pairs: list[tuple[str, int | None, int]] = [
        ("Categories", paper["classes"], totals["categories"]),
        ("Scenes", paper["scenes"], totals["scenes"]),
        ("Super-categories", PAPER_SUPER_CATEGORIES, totals["super_categories"]),
        ("Images with defects", paper["images"], totals["defective"]),
        ("Good images", None, totals["good"]),
        ('Boxes (the paper: "80K+")', PAPER_BOXES, totals["boxes"]),
    ]
    if split is not None:
        pairs += [
            ("Images of seen categories (zero-shot by category)", PAPER_SEEN_IMAGES, split["seen_images"]),
            ("Images of unseen categories (likewise)", PAPER_UNSEEN_IMAGES, split["unseen_images"]),
        ]
    rows: list[list[str | int]] = [
        [
            name,
            _NOT_STATED if theirs is None else theirs,
            ours,
            "" if theirs is None else _percent(ours, theirs),
        ]
        for name, theirs, ours in pairs
    ]
    small = _percent(stats["box_sizes"]["coco"]["small"], totals["boxes"])
    return [*rows, ["Small boxes", '"the vast majority"', small, ""]]


def _missing(stats: Statistics) -> str:
    beyond = stats["taxonomy"]
    lists = {
        "Super-categories without an image": beyond["missing_super_categories"],
        "Scenes without an image": beyond["missing_scenes"],
        f"Categories without a box, of {beyond['expected_categories']}": beyond["missing_categories"],
        "Categories that the taxonomy does not have": beyond["unknown_categories"],
    }
    return "".join(
        f"<details><summary>{escape(name)}: {len(names)}</summary><p>{escape(', '.join(names))}</p></details>"
        for name, names in lists.items()
        if names
    )


def _plot(name: str, plot: PagePlot, stats: Statistics) -> str:
    description = escape(PLOTS[name].describe(stats))
    return (
        f'<h3 id="plot-{escape(name)}">{escape(PLOTS[name].title)}</h3>\n'
        f'<figure class="wide"><div class="scroll" tabindex="0" role="region" '
        f'aria-labelledby="plot-{escape(name)}">'
        '<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{_data_uri(plot.dark, "svg+xml")}">'
        f'<img src="{_data_uri(plot.light, "svg+xml")}" alt="{description}"></picture></div>'
        f"<figcaption>{description}</figcaption></figure>\n"
    )


def _parts_section(stats: Statistics) -> str:
    headers = ["Sets", "Images", "Good", "Boxes", "Categories", "Small", "Medium", "Large"]
    supers = [
        [name, len(part["scenes"]), *_part_cells(part)] for name, part in stats["super_categories"].items()
    ]
    scenes = [
        [name, ", ".join(part["super_categories"]), *_part_cells(part)]
        for name, part in stats["scenes"].items()
    ]
    return _table(
        "By super-category, most boxes first.", ["Super-category", "Scenes", *headers], supers
    ) + _table("By scene, most boxes first.", ["Scene", "Super-category", *headers], scenes)


def _part_cells(part: PartNumbers) -> list[str | int]:
    counts = (len(part["sources"]), part["images"], part["good"], part["boxes"], len(part["categories"]))
    return [*counts, *_bands(part["sizes"], part["boxes"])]


def _categories_section(stats: Statistics) -> str:
    rows: list[list[str | int]] = [
        [
            name,
            ", ".join(numbers["super_categories"]),
            ", ".join(f"{scene} {boxes:,}" for scene, boxes in numbers["scenes"].items()),
            numbers["boxes"],
            numbers["images"],
            *_bands(numbers["sizes"], numbers["boxes"]),
        ]
        for name, numbers in stats["categories"].items()
    ]
    headers = ["Category", "Super-category", "Scenes and their boxes", "Boxes", "Images"]
    return _table("Most boxes first.", [*headers, "Small", "Medium", "Large"], rows)


def _splits_section(stats: Statistics) -> str:
    if not stats["splits"]:
        return ""
    headers = ["Split", "Training images", "Test images", "Left out", "Training boxes", "Test boxes"]
    rows: list[list[str | int]] = [
        [
            name,
            *(split["train_images"], split["test_images"], split["left_out"]),
            *(split["train_boxes"], split["test_boxes"]),
            *(split["seen"], split["unseen"], split["unseen_images"], split["unseen_boxes"]),
        ]
        for name, split in stats["splits"].items()
    ]
    more = ["Seen categories", "Unseen categories", "Test images that show one", "Its boxes"]
    return _table(
        "Seen categories are in the training part; unseen ones in the test part only.", headers + more, rows
    )


def _sheet(number: int, sheet: PageSheet) -> str:
    heading, key = f"{sheet.scene[:1].upper()}{sheet.scene[1:]}", f"sheet-{number}"
    parts = [f'<h3 id="{key}">{escape(heading)}</h3>\n']
    if sheet.jpeg is not None:
        alt = f"{len(sheet.examples)} examples of {sheet.scene} with their boxes, listed below the picture"
        parts.append(
            f'<figure class="sheet"><img src="{_data_uri(sheet.jpeg, "jpeg")}" width="{sheet.width}" '
            f'height="{sheet.height}" loading="lazy" alt="{escape(alt)}"></figure>\n'
        )
    parts += [
        _list("What is shown", sheet.examples, "ol"),
        _list("Images that could not be shown", sheet.skipped, "ul"),
    ]
    return "".join(parts)


def _list(summary: str, lines: Iterable[str], tag: str) -> str:
    entries = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if not entries:
        return ""
    return f"<details><summary>{escape(summary)}</summary><{tag}>{entries}</{tag}></details>\n"


def _counting_section() -> str:
    return (
        "<p>An image without a box is good. Areas are those of boxes, in pixels of the original image: "
        f"small is below {MEDIUM_SIDE} x {MEDIUM_SIDE}, medium below {LARGE_SIDE} x {LARGE_SIDE}, large the "
        "rest. A category's super-categories and scenes are those of the sets that annotate it. The bands of "
        f"the long tail are those of LVIS: rare up to {RARE_IMAGES} images, common up to {COMMON_IMAGES}, "
        "frequent above. The examples are chosen by the hash of their content, so that the same images are "
        "shown again; names are at the largest box of each category.</p>\n"
    )


def _bands(sizes: Sizes, boxes: int) -> list[str]:
    return [_percent(sizes[band], boxes) for band in BANDS]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _table(
    caption: str, headers: Sequence[str], rows: Sequence[Sequence[str | int]], marked: int | None = None
) -> str:
    """A table; the first column names the rows, and the row number ``marked`` stands out."""
    numeric = [bool(rows) and _is_number(rows[0][column]) for column in range(len(headers))]
    kinds = [' class="number"' if number else "" for number in numeric]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>' for kind, text in zip(kinds, headers, strict=True)
    )
    lines = []
    for number, (name, *values) in enumerate(rows):
        cells = "".join(
            f"<td{kind}>{escape(f'{value:,}' if isinstance(value, int) else value)}</td>"
            for kind, value in zip(kinds[1:], values, strict=True)
        )
        row = '<tr class="mark">' if number == marked else "<tr>"
        lines.append(f'{row}<th scope="row">{escape(str(name))}</th>{cells}</tr>\n')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{''.join(lines)}</tbody></table></div>\n"
    )


def _is_number(value: str | int) -> bool:
    return isinstance(value, int) or value.endswith("%")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
