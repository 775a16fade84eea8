"""The report for people: numbers, plots, contact sheets and one page that shows them all."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtvp.files import replacing
from rtvp.mmio.build_output import STATISTICS_FILE
from rtvp.mmio.contact_sheet import contact_sheet
from rtvp.mmio.page import PagePlot, PageSheet, report_page
from rtvp.mmio.plot_style import DARK, LIGHT, require_matplotlib
from rtvp.mmio.plots import PLOTS, render_plot
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Split
from rtvp.mmio.statistics import statistics
from rtvp.mmio.statistics_schema import Statistics
from rtvp.mmio.taxonomy import Taxonomy

PAGE_FILE = "index.html"
PLOTS_FOLDER = "plots"
SHEETS_FOLDER = "contact_sheets"


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What was written.

    Attributes:
        statistics: all numbers.
        files: all files, the page last.
        skipped: images that the contact sheets could not show, one line each: "source/file_name: why".
    """

    statistics: Statistics
    files: tuple[Path, ...]
    skipped: tuple[str, ...]


def write_report(
    out: Path,
    items: Iterable[Item],
    folders: Mapping[str, Path],
    scene_of: Mapping[str, str],
    super_category_of: Mapping[str, str],
    taxonomy: Taxonomy,
    *,
    splits: Sequence[Split] = (),
    title: str = "MMIO, as it was built",
) -> WrittenReport:
    """Write ``stats.json``, ``plots/*.png`` and ``*.svg``, ``contact_sheets/*.jpg`` and ``index.html``.

    All of it is made before anything is written, and each file appears whole. The same benchmark gives the
    same bytes under the same versions of matplotlib and Pillow.

    Args:
        out: the folder, made if it is not there.
        items: the images of the benchmark, in any order.
        folders: source -> folder that its file names are relative to.
        scene_of: source -> scene.
        super_category_of: source -> super-category.
        taxonomy: what the whole benchmark would hold.
        splits: of these images.
        title: heading of the page.

    Raises:
        RtvpError: matplotlib is not installed, a source is not in one of the tables, or ``out`` cannot be
            written.
    """
    require_matplotlib()
    kept = list(items)
    stats = statistics(kept, scene_of, super_category_of, taxonomy, splits)
    sheets = _sheets(kept, folders, scene_of)
    contents: dict[str, bytes] = {STATISTICS_FILE: _json(stats)}
    plots = {}
    for name in PLOTS:
        plots[name] = PagePlot(render_plot(name, stats, "svg", LIGHT), render_plot(name, stats, "svg", DARK))
        contents[f"{PLOTS_FOLDER}/{name}.svg"] = plots[name].light
        contents[f"{PLOTS_FOLDER}/{name}.png"] = render_plot(name, stats, "png")
    for name, sheet in zip(_file_names([sheet.scene for sheet in sheets]), sheets, strict=True):
        if sheet.jpeg is not None:
            contents[f"{SHEETS_FOLDER}/{name}.jpg"] = sheet.jpeg
    contents[PAGE_FILE] = report_page(title, stats, plots, sheets).encode()
    for name, content in contents.items():
        with replacing(out / name) as temporary:
            temporary.write_bytes(content)
    skipped = tuple(line for sheet in sheets for line in sheet.skipped)
    return WrittenReport(stats, tuple(out / name for name in contents), skipped)


def _json(stats: Statistics) -> bytes:
    return (json.dumps(stats, indent=1, ensure_ascii=False) + "\n").encode()


def _sheets(
    items: Iterable[Item], folders: Mapping[str, Path], scene_of: Mapping[str, str]
) -> list[PageSheet]:
    """A contact sheet of each scene, in the order of the alphabet."""
    scenes: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        scenes[scene_of[item.source]].append(item)
    sheets = []
    for scene in sorted(scenes):
        sheet = contact_sheet(scenes[scene], folders)
        jpeg = sheet.to_jpeg() if sheet.shown else None
        examples = tuple(_in_words(item) for item in sheet.shown)
        sheets.append(PageSheet(scene, jpeg, *sheet.picture.size, examples, sheet.skipped))
    return sheets


def _in_words(item: Item) -> str:
    counts = Counter(annotation.name for annotation in item.annotations)
    boxes = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in sorted(counts.items()))
    return f"{boxes or 'good'} ({item.key})"


def _file_names(scenes: Sequence[str]) -> list[str]:
    """A file name for each scene that any system takes, numbered where two would be the same."""
    names: list[str] = []
    for scene in scenes:
        plain = re.sub(r"[^a-z0-9]+", "-", scene.lower()).strip("-") or "scene"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names
