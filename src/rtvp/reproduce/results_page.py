"""``docs/results.md``, written from the files of results alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.mmio.build_output import STATISTICS_FILE
from rtvp.mmio.statistics_schema import Statistics
from rtvp.reproduce.budget import BUDGETS
from rtvp.reproduce.claims import claims, judge, judge_benchmark
from rtvp.reproduce.items import ITEMS
from rtvp.reproduce.results import TABLE_FILE, RunResult, read_json, read_results
from rtvp.reproduce.tables import NOTHING, ResultTable

HEAD = """# Results

Written by `rtvp reproduce results-page` from the files below [{folder}]({folder}); do not edit. Every table
shows the largest budget that was run for it (smoke < cpu < gpu < paper), beside the paper's own columns.
"""


class _StoredTable(StrictModel):
    title: str
    columns: list[str]
    rows: list[dict[str, str]]
    notes: list[str]
    words: int

    def table(self) -> ResultTable:
        rows = tuple(tuple(row[column] for column in self.columns) for row in self.rows)
        return ResultTable(self.title, tuple(self.columns), rows, tuple(self.notes), self.words)


def write_results_page(results: Path, page: Path) -> Path:
    """Gather the results below ``results`` in one Markdown page.

    Raises:
        RtvpError: there are none, or a file is no result.
    """
    runs = read_results(results)
    sections = [section for item in ITEMS if (section := _section(results, item, page))]
    if not sections:
        raise RtvpError(f"{results}: expected results of rtvp reproduce, found none: run an item first")
    parts = [HEAD.format(folder=_link(results, page)), _claims_table(runs, _built(results)).to_markdown()]
    parts += [*sections, *_hardware(runs)]
    with replacing(page) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    return page


def _claims_table(runs: Sequence[RunResult], built: Statistics | None) -> ResultTable:
    rows = [(where, text, found.verdict, found.why, NOTHING) for where, text, found in judge_benchmark(built)]
    for claim in claims():
        found = judge(claim, runs)
        rows.append((claim.where, claim.text, found.verdict, found.why, found.budget or NOTHING))
    notes = (
        "Reproduced: the mean difference over at least two seeds is above 0, at least what is claimed and "
        "larger than its standard deviation. Differences are in points (a silhouette: hundredths).",
    )
    columns = ("where", "claim of the paper", "verdict", "what was found", "budget")
    return ResultTable("Claims", columns, tuple(rows), notes, words=len(columns))


def _built(results: Path) -> Statistics | None:
    path = results / "figure2" / STATISTICS_FILE
    return cast("Statistics", read_json(path)) if path.is_file() else None


def _section(results: Path, item: str, page: Path) -> str:
    """The tables and pictures of an item, of the largest budget; empty if there are none."""
    command = f"rtvp reproduce {item}"
    places = {command: results / item}
    if ITEMS[item].trains:
        places = {f"{command} --budget {budget}": results / item / budget for budget in reversed(BUDGETS)}
    for call, folder in places.items():
        if (folder / TABLE_FILE).is_file():
            head = f"## {item}: {ITEMS[item].title}\n\n`{call}`\n"
            return "\n".join([head, *_tables(folder / TABLE_FILE), *_pictures(folder, page)])
    return ""


def _tables(path: Path) -> list[str]:
    stored = read_json(path)
    if not isinstance(stored, list):
        raise RtvpError(f"{path}: expected a list of tables, got a {type(stored).__name__}")
    return [parse_config(each, _StoredTable, str(path)).table().to_markdown(level=3) for each in stored]


def _pictures(folder: Path, page: Path) -> list[str]:
    return [f"![{path.stem}]({_link(path, page)})\n" for path in sorted(folder.glob("*.png"))]


def _hardware(runs: Sequence[RunResult]) -> list[str]:
    """What the runs ran on and with, each combination once."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        if line := _machine(run.record):
            seen.setdefault(line, set()).add(f"{run.item} ({run.budget})")
    if not seen:
        return []
    lines = [f"- {line}: {', '.join(sorted(items))}" for line, items in sorted(seen.items())]
    return ["## Hardware and versions\n", "\n".join(lines) + "\n"]


def _machine(record: dict[str, Any]) -> str:
    """Processor, GPUs and versions of a run, in a line; empty for a run without a record."""
    if not record:
        return ""
    hardware, packages = record["hardware"], record["packages"]
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    rtvp = packages["rtvp"] or "not installed"
    versions = f"Python {packages['python']}, torch {packages['torch']}, rtvp {rtvp}"
    return f"{hardware['processor']}, {hardware['threads']} threads, {gpus}; {versions}"


def _link(path: Path, page: Path) -> str:
    """``path`` as a page links to it."""
    return Path(os.path.relpath(path, page.parent)).as_posix()
