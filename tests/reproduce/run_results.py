"""Results of runs that never were."""

from __future__ import annotations

from typing import Any

from rtvp.reproduce.arms import ARMS
from rtvp.reproduce.budget import BudgetName
from rtvp.reproduce.results import RunResult

RECORD = {
    "hardware": {"processor": "Some CPU", "threads": 2, "gpus": []},
    "packages": {"python": "3.11", "torch": "2.9", "rtvp": "0.1"},
}


def run_result(
    arm: str,
    figures: dict[str, float | None],
    *,
    item: str = "table2b",
    task: str = "zero-shot-category",
    budget: BudgetName = "cpu",
    seed: int = 0,
    **more: Any,
) -> RunResult:
    """A result with the figures of one arm."""
    values = {
        "title": ARMS[arm].title if arm in ARMS else arm,
        "run": "0" * 16,
        "data_digest": "d",
        "config": None,
        "images": 5,
        "evaluation": {},
        "curve": [],
        "record": RECORD,
        **more,
    }
    return RunResult(item=item, budget=budget, task=task, arm=arm, seed=seed, figures=figures, **values)
