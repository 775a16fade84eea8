"""What the paper claims in numbers, and what the results say to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Literal

from rtvp.mmio.statistics_schema import Statistics
from rtvp.reproduce.arms import ARMS
from rtvp.reproduce.budget import BUDGETS
from rtvp.reproduce.paper import paper_number
from rtvp.reproduce.results import RunResult

Verdict = Literal["reproduced", "not reproduced", "not testable here"]

TOO_LITTLE = "smoke"  # the budget that shows that everything runs, and judges nothing


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of the paper: the arms reach rising figures, in this order.

    Attributes:
        where: table or figure.
        text: what the paper says.
        item: whose results decide.
        task: what was measured there.
        rising: arms (or other rows of the results), the worst first.
        column: the figure that rises.
        margin: by how much it rises at least from one to the next, in points.
        needs: what is missing where there are no results.
    """

    where: str
    text: str
    item: str
    task: str
    rising: tuple[str, ...]
    column: str = "AP"
    margin: float = 0.0
    needs: str = "it was not run"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a claim.

    Attributes:
        verdict: in a word.
        why: what was measured, or what is missing.
        budget: of the results that decided; empty where there are none.
    """

    verdict: Verdict
    why: str
    budget: str = ""


def judge(claim: Claim, results: Sequence[RunResult]) -> Judgement:
    """Hold a claim against the results of the largest budget that ran all of its arms.

    Differences are taken seed by seed. A claim is reproduced if each mean difference is above 0, no less than
    the margin and larger than its standard deviation; one seed has no spread and reproduces nothing. The
    smoke budget decides nothing.
    """
    own = [run for run in results if run.item == claim.item and run.task == claim.task]
    for budget in reversed(BUDGETS):
        by_arm = _by_arm(claim, [run for run in own if run.budget == budget])
        seeds = sorted(set.intersection(*(set(runs) for runs in by_arm.values())))
        if not seeds:
            continue
        if budget == TOO_LITTLE:
            return Judgement(
                "not testable here", "only the smoke budget was run, which is too little", budget
            )
        return _compare(claim, by_arm, seeds, budget)
    return Judgement("not testable here", f"no results: {claim.needs}")


def judge_benchmark(built: Statistics | None) -> list[tuple[str, str, Judgement]]:
    """What Table 1 and Figure 2c claim of the benchmark: where, what, and what the build says to it."""
    if built is None:
        missing = Judgement("not testable here", "no results: it was not built (rtvp reproduce figure2)")
        return [("Table 1", _SIZE, missing), ("Figure 2c", _SMALL, missing)]
    totals, small = built["totals"], built["box_sizes"]["coco"]["small"]
    counted = ", ".join(f"{totals[part]} {part}" for part in ("categories", "scenes", "images", "boxes"))
    why = f"the {totals['sources']} sets that are at hand have {counted}"
    share = small / max(1, totals["boxes"])
    found = f"{share:.0%} of {totals['boxes']} boxes are below 32 x 32 px"
    return [
        ("Table 1", _SIZE, Judgement("not testable here", why)),
        ("Figure 2c", _SMALL, Judgement("reproduced" if share > 0.5 else "not reproduced", found)),
    ]


_SIZE = "100 categories, 18 scenes, 21,836 images, more than 80,000 boxes"
_SMALL = "small defects account for the vast majority (here: for more than half of the boxes)"


def _by_arm(claim: Claim, runs: Sequence[RunResult]) -> dict[str, dict[int, float]]:
    """arm -> seed -> figure."""
    found: dict[str, dict[int, float]] = {arm: {} for arm in claim.rising}
    for run in runs:
        value = run.figures.get(claim.column)
        if run.arm in found and value is not None:
            found[run.arm][run.seed] = value
    return found


def _compare(
    claim: Claim, by_arm: Mapping[str, Mapping[int, float]], seeds: Sequence[int], budget: str
) -> Judgement:
    holds, parts = len(seeds) > 1, []
    for low, high in pairwise(claim.rising):
        differences = [100 * (by_arm[high][seed] - by_arm[low][seed]) for seed in seeds]
        mean, deviation = fmean(differences), stdev(differences) if len(seeds) > 1 else 0.0
        holds &= mean > 0 and mean >= claim.margin and mean > deviation
        spread = f" ± {deviation:.1f}" if len(seeds) > 1 else ""
        parts.append(f"{_title(high)} {mean:+.1f}{spread} {claim.column} over {_title(low)}")
    counted = "1 seed, so no spread: decides nothing" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return Judgement("reproduced" if holds else "not reproduced", f"{'; '.join(parts)} ({counted})", budget)


def _title(arm: str) -> str:
    return ARMS[arm].title if arm in ARMS else arm


CLOSED = "closed"
ZERO_SHOT = ("zero-shot-category", "zero-shot-meaning", "zero-shot-scene")  # the first is the paper's kind
PARTS = {
    "no-adaptation": "expert-assisted domain adaptation",
    "no-prompt": "the refined visual prompt",
    "no-interaction": "text-visual interaction",
}
GROUNDING_DINO = "peer:grounding-dino-tiny"
_NO_COCO = "MS-COCO 2017 is not at hand (rtvp reproduce table3 --coco FOLDER)"
_NO_LVIS = "LVIS v1 is not at hand (rtvp reproduce table4 --lvis FOLDER)"
_NO_PEER = "its weights are not at hand (rtvp reproduce table2b --peer IDEA-Research/grounding-dino-tiny)"


def claims() -> tuple[Claim, ...]:
    """Every claim that `rtvp reproduce` can test, in the order of the paper."""
    return (*_closed(), *_zero_shot(), *_natural_images(), *_ablation(), *_figure4())


def _closed() -> list[Claim]:
    text = "closed: {} above that of a closed-set expert"
    return [
        Claim("Table 2a", text.format(column), "table2a", CLOSED, ("expert", "rtvp"), column)
        for column in ("AP", "AP50", "precision", "recall")
    ]


def _zero_shot() -> list[Claim]:
    found = []
    for task in ZERO_SHOT:
        text, arms = f"{task}: {{}} above that of YOLO-World-S", ("yolo-world-like", "rtvp")
        found.append(Claim("Table 2b", text.format("AP"), "table2b", task, arms))
        for column in ("AP", "AP50"):
            gap = _gap("table2b", "RTVP", "YOLO-W-S", column)
            by = text.format(f"{column} at least {gap} points")
            found.append(Claim("Table 2b", by, "table2b", task, arms, column, gap))
    for column in ("AP", "AP50"):
        gap = _gap("table2b", "RTVP", "Grounding DINO-T", column)
        by = f"{ZERO_SHOT[0]}: {column} at least {gap} points above that of Grounding DINO-T"
        arms = (GROUNDING_DINO, "rtvp")
        found.append(Claim("Table 2b", by, "table2b", ZERO_SHOT[0], arms, column, gap, _NO_PEER))
    return found


def _natural_images() -> list[Claim]:
    coco = _gap("table3", "RTVP", "YOLOv8-S", "AP")
    lvis = _gap("table4", "RTVP (O365)", "YOLO-W (O365)", "AP")
    by = "{}: AP at least {} points above that of {}"
    return [
        Claim(
            "Table 3", by.format("MS-COCO", coco, "YOLOv8-S"), "table3", "coco", ("expert", "rtvp"),
            margin=coco, needs=_NO_COCO,
        ),
        Claim(
            "Table 4", by.format("LVIS", lvis, "YOLO-World-S"), "table4", "lvis", ("yolo-world-like", "rtvp"),
            margin=lvis, needs=_NO_LVIS,
        ),
    ]  # fmt: skip


def _ablation() -> list[Claim]:
    found = []
    for task in (CLOSED, ZERO_SHOT[0]):
        found += [
            Claim("Table 5", f"{task}: {part} raises AP", "table5", task, (arm, "rtvp"))
            for arm, part in PARTS.items()
        ]
        text = f"{task}: adaptation is worth more AP than the prompt, the prompt more than the interaction"
        found.append(Claim("Table 5", text, "table5", task, (*PARTS, "rtvp")))
    text = f"{ZERO_SHOT[0]}: the smaller the patches, the higher AP"
    sizes = ("patch-128", "patch-64", "patch-32")
    found.append(Claim("Table 6", text, "table6", ZERO_SHOT[0], sizes))
    return found


def _figure4() -> list[Claim]:
    others = {"ground-truth": "ground-truth boxes", "fgvp": "FGVP", "visual-only": "the visual prompt alone"}
    return [
        Claim(
            "Figure 4", f"unseen classes form tighter clusters with RTVP than with {name}", "figure4",
            ZERO_SHOT[0], (arm, "rtvp"), "silhouette",
        )
        for arm, name in others.items()
    ]  # fmt: skip


def _gap(table: str, high: str, low: str, column: str) -> float:
    return round(paper_number(table, high, column) - paper_number(table, low, column), 1)
