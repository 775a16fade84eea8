"""What results say to the paper's claims."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from run_results import run_result

from rtvp.reproduce.budget import BudgetName
from rtvp.reproduce.claims import Claim, claims, judge
from rtvp.reproduce.comparisons import COMPARISONS
from rtvp.reproduce.items import TASKS
from rtvp.reproduce.pictures import FIGURE4
from rtvp.reproduce.results import RunResult

BETTER = Claim("Table 2b", "better", "table2b", "zero-shot-category", ("yolo-world-like", "rtvp"))


def runs(low: Sequence[float], high: Sequence[float], budget: BudgetName = "cpu") -> list[RunResult]:
    return [
        run_result(arm, {"AP": value}, budget=budget, seed=seed)
        for arm, values in (("yolo-world-like", low), ("rtvp", high))
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        ([0.10, 0.12, 0.11], [0.15, 0.16, 0.16], 3.5, "reproduced"),
        ([0.10, 0.12, 0.11], [0.12, 0.14, 0.13], 3.5, "not reproduced"),  # too little
        ([0.10, 0.12, 0.11], [0.12, 0.14, 0.13], 0.0, "reproduced"),
        ([0.10, 0.10, 0.10], [0.18, 0.09, 0.11], 0.0, "not reproduced"),  # within the spread
        ([0.10], [0.10], 0.0, "not reproduced"),  # no difference
        ([0.10], [0.11], 0.0, "not reproduced"),  # no spread
    ],
)
def test_a_claim_holds_by_its_margin_and_beyond_the_spread(
    low: list[float], high: list[float], margin: float, verdict: str
) -> None:
    claim = Claim(BETTER.where, "", BETTER.item, BETTER.task, BETTER.rising, margin=margin)
    assert judge(claim, runs(low, high)).verdict == verdict


def test_differences_are_taken_seed_by_seed() -> None:
    judged = judge(BETTER, runs([0.1, 0.3], [0.12, 0.32]))
    assert judged.verdict == "reproduced"
    title = "RTVP +2.0 ± 0.0 AP over YOLO-World-S-like (all three parts off) (2 seeds)"
    assert judged.why == title


def test_only_seeds_that_all_arms_have_count() -> None:
    assert "(1 seed, so no spread: decides nothing)" in judge(BETTER, runs([0.1], [0.2, 0.0, 0.0])).why


def test_the_largest_budget_decides() -> None:
    judged = judge(BETTER, [*runs([0.1], [0.2], "cpu"), *runs([0.2], [0.1], "gpu")])
    assert (judged.verdict, judged.budget) == ("not reproduced", "gpu")


def test_the_smoke_budget_decides_nothing() -> None:
    judged = judge(BETTER, runs([0.1], [0.5], "smoke"))
    assert judged.verdict == "not testable here"
    assert "smoke" in judged.why


def test_without_an_arm_it_is_said_what_is_missing() -> None:
    claim = Claim(
        "Table 2b", "", "table2b", BETTER.task, ("peer:grounding-dino-tiny", "rtvp"), needs="weights"
    )
    judged = judge(claim, runs([0.1], [0.5]))
    assert (judged.verdict, judged.why) == ("not testable here", "no results: weights")


def test_a_figure_that_could_not_be_measured_is_none() -> None:
    assert judge(
        BETTER, [run_result("rtvp", {"AP": 0.1}), run_result("yolo-world-like", {"AP": None})]
    ) == judge(BETTER, [])


def test_an_order_needs_every_step() -> None:
    claim = Claim("Table 6", "", "table2b", BETTER.task, ("patch-128", "patch-64", "patch-32"))
    results = [
        run_result(f"patch-{side}", {"AP": 1 / side}, seed=seed) for seed in (0, 1) for side in (32, 64, 128)
    ]
    assert judge(claim, results).verdict == "reproduced"
    results[1] = run_result("patch-64", {"AP": 0.001})
    assert judge(claim, results).verdict == "not reproduced"


def test_every_claim_is_about_something_that_is_run() -> None:
    for claim in claims():
        rows = {*FIGURE4} if claim.item == "figure4" else set[str]()
        for comparison in COMPARISONS.get(claim.item, ()):
            rows |= set(comparison.rows) if comparison.task == claim.task else set()
        peers = {arm for arm in claim.rising if arm.startswith("peer:")}
        assert set(claim.rising) - peers <= rows, claim
        assert claim.task in TASKS


def test_margins_are_the_differences_of_the_papers_tables() -> None:
    margins = [claim.margin for claim in claims() if claim.margin]
    assert sorted(set(margins)) == [0.6, 2.3, 3.5, 3.6, 4.5, 6.3]
