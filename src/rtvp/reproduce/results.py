"""Results as files: one JSON for each run of each arm, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.files import read_utf8, replacing
from rtvp.reproduce.budget import BudgetName
from rtvp.reproduce.tables import ResultTable

TABLE_FILE = "table.json"


class RunResult(StrictModel):
    """What one arm reached with one seed.

    Attributes:
        item: what it was run for, such as "table5".
        budget: how much work went into it.
        task: what was measured, such as "zero-shot-category".
        arm: of `rtvp.reproduce.arms`, or "peer:NAME".
        title: of the arm, as tables call it.
        seed: of training and sampling.
        run: digest of configuration and data; equal runs are trained once.
        data_digest: of the labelled images.
        config: of the training; None for a peer, which is measured as it comes.
        images: number of images that were tested on.
        figures: shares in [0, 1] or counts; None where there was nothing to measure.
        evaluation: the whole of it.
        curve: rows of the training log.
        record: of the run: versions, hardware, state of the code.
    """

    item: str
    budget: BudgetName
    task: str
    arm: str
    title: str
    seed: int
    run: str
    data_digest: str
    config: dict[str, Any] | None
    images: int
    figures: dict[str, float | None]
    evaluation: dict[str, Any]
    curve: list[dict[str, float]]
    record: dict[str, Any]


def seeds_counted(results: Iterable[RunResult]) -> str:
    """Of how many runs the cells of a table are the mean, in words; its rows may have different numbers."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for result in results:
        seeds.setdefault((result.task, result.arm), set()).add(result.seed)
    fewest, most = min(map(len, seeds.values())), max(map(len, seeds.values()))
    if most == 1:
        return "1 seed"
    return f"mean ± standard deviation of {most if fewest == most else f'{fewest} to {most}'} seeds"


def write_result(folder: Path, result: RunResult) -> Path:
    """Write ``FOLDER/ITEM/BUDGET/TASK/ARM-SEED.json``."""
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in result.arm)
    path = folder / result.item / result.budget / result.task / f"{name}-{result.seed}.json"
    write_json(path, result.model_dump(mode="json"))
    return path


def read_results(folder: Path) -> list[RunResult]:
    """All runs below ``folder``, sorted by path.

    Raises:
        RtvpError: a file that is not a result.
    """
    return [
        parse_config(read_json(path), RunResult, str(path)) for path in sorted(folder.glob("*/*/*/*.json"))
    ]


def write_table(folder: Path, item: str, budget: BudgetName | None, tables: Iterable[ResultTable]) -> None:
    """Write ``FOLDER/ITEM/[BUDGET/]table.json`` and ``table.md``."""
    written = list(tables)
    place = folder / item / budget if budget else folder / item
    write_json(place / TABLE_FILE, [table.to_json() for table in written])
    with replacing(place / "table.md") as temporary:
        temporary.write_text("\n".join(table.to_markdown() for table in written), encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, whole or not at all; it cannot hold NaN."""
    with replacing(path) as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RtvpError: it is missing, or damaged.
    """
    try:
        return json.loads(read_utf8(path))
    except (ValueError, RecursionError) as error:
        raise RtvpError(f"{path}: expected a JSON file ({error}): remove it") from error
