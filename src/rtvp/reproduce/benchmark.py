"""The built benchmark: found, made, and as Table 1 and Figure 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rtvp.files import replacing
from rtvp.mmio.build import build
from rtvp.mmio.build_config import BuildConfig
from rtvp.mmio.build_output import MANIFEST_FILE, STATISTICS_FILE
from rtvp.mmio.built import Built, read_build
from rtvp.mmio.plots import PLOTS, render_plot
from rtvp.mmio.sources import source_table
from rtvp.mmio.statistics import statistics
from rtvp.mmio.statistics_schema import (
    BANDS,
    PAPER_BOXES,
    PAPER_SEEN_IMAGES,
    PAPER_SUPER_CATEGORIES,
    PAPER_UNSEEN_IMAGES,
    Statistics,
)
from rtvp.mmio.taxonomy import taxonomy
from rtvp.mmio.zero_shot import CATEGORY
from rtvp.models.text_encoder import make_text_encoder
from rtvp.reproduce.paper import paper_tables
from rtvp.reproduce.results import write_json
from rtvp.reproduce.tables import NOTHING, ResultTable

MMIO, OURS = "MMIO-80K", "built here"


def find_or_build(given: Path | None, data: Path, out: Path, tell: Callable[[str, int, int], None]) -> Path:
    """The folder of a finished build: ``given``, or ``out``, where it is made with masks if need be.

    Raises:
        RtvpError: ``given`` holds no finished build, or it cannot be made.
    """
    if given is not None:
        read_build(given)
        return given
    if not (out / MANIFEST_FILE).is_file():
        encoder = make_text_encoder("minilm")
        build(
            data,
            out,
            BuildConfig(keep_masks=True),
            jobs=2,
            embed=encoder.encode,
            progress=tell,
        )
    return out


def table1(built: Built) -> ResultTable:
    """The paper's Table 1 with a row for the build."""
    ours, paper = _statistics(built)["table_1"], paper_tables()["table1"]
    rows = [(name, *map(str, values)) for name, values in paper.rows.items()]
    rows.append((OURS, *(str(ours[column]) for column in ("classes", "images", "scenes", "modal"))))
    note = f"{OURS}: the {len(built.scene_of)} of {len(source_table())} known public sets that are at hand."
    return ResultTable(paper.title, ("data set", *paper.columns), tuple(rows), (note,))


def figure2(built: Built, folder: Path) -> ResultTable:
    """Draw Figure 2c into ``folder``, a PNG for each plot, numbers beside; what the paper says of it, and we.

    Raises:
        RtvpError: matplotlib is not installed.
    """
    found = _statistics(built)
    write_json(folder / STATISTICS_FILE, found)
    for name in PLOTS:
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(render_plot(name, found, "png"))
    totals, sizes = found["totals"], found["box_sizes"]["coco"]
    table = paper_tables()["table1"]
    paper = {column: str(value) for column, value in zip(table.columns, table.rows[MMIO], strict=True)}
    rows = [
        ("super-categories", str(PAPER_SUPER_CATEGORIES), str(totals["super_categories"])),
        ("scenes", paper["scenes"], str(totals["scenes"])),
        ("categories", paper["classes"], str(totals["categories"])),
        ("images", paper["images"], str(totals["images"])),
        ("boxes", f"{PAPER_BOXES}+", str(totals["boxes"])),
    ]
    if split := found["splits"].get(CATEGORY):
        rows.append(("images of seen categories", str(PAPER_SEEN_IMAGES), str(split["seen_images"])))
        rows.append(("images of unseen categories", str(PAPER_UNSEEN_IMAGES), str(split["unseen_images"])))
    for band in BANDS:
        share = f"{sizes[band] / max(1, totals['boxes']):.0%}"
        rows.append((f"{band} boxes", "the vast majority" if band == "small" else NOTHING, share))
    notes = ("Plots: " + ", ".join(f"{name}.png" for name in PLOTS) + ".", _NOT_BUILT)
    return ResultTable("What MMIO holds (Figure 2c)", ("", "paper", OURS), tuple(rows), notes)


_NOT_BUILT = (
    "Figure 2a shows examples, which `rtvp mmio stats` draws of the images at hand; 2b is a photograph of "
    "the authors' camera stand."
)


def _statistics(built: Built) -> Statistics:
    splits = tuple(built.splits.values())
    return statistics(built.items, built.scene_of, built.super_category_of, taxonomy(), splits)
