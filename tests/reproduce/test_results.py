"""What is said of the runs behind a table."""

from __future__ import annotations

import pytest
from run_results import run_result

from rtvp.reproduce.results import seeds_counted


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ({"rtvp": [0], "no-prompt": [0]}, "1 seed"),
        ({"rtvp": [1], "no-prompt": [0]}, "1 seed"),
        ({"rtvp": [0, 1], "no-prompt": [0, 1]}, "mean ± standard deviation of 2 seeds"),
        ({"rtvp": [0, 1, 2], "no-prompt": [2]}, "mean ± standard deviation of 1 to 3 seeds"),
    ],
)
def test_seeds_are_counted_arm_by_arm(seeds: dict[str, list[int]], expected: str) -> None:
    runs = [run_result(arm, {"AP": 0.1}, seed=seed) for arm, own in seeds.items() for seed in own]
    assert seeds_counted(runs) == expected


def test_seeds_are_counted_task_by_task() -> None:
    runs = [run_result("rtvp", {"AP": 0.1}, task=task, seed=s) for task, s in (("a", 0), ("b", 0), ("b", 1))]
    assert seeds_counted(runs) == "mean ± standard deviation of 1 to 2 seeds"
