"""Which arms stand in which table, beside which row of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rtvp.config import TrainConfig
from rtvp.reproduce.arms import ARMS
from rtvp.reproduce.paper import paper_tables
from rtvp.reproduce.results import RunResult, seeds_counted
from rtvp.reproduce.tables import OurRow, ResultTable, beside_paper


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table of methods.

    Attributes:
        paper: key of the paper's table.
        task: what the arms are measured on.
        rows: arm -> the row of the paper's table that it stands beside.
        note: what differs from the paper's experiment beyond data and budget.
    """

    paper: str
    task: str
    rows: Mapping[str, str]
    note: str = ""


_ABLATION = {
    "no-adaptation": "-Expert Domain Adapter",
    "no-prompt": "-Refined Visual Prompt",
    "no-interaction": "-Text-Visual Interaction",
    "rtvp": "RTVP",
}
_ZERO_SHOT = {"yolo-world-like": "YOLO-W-S", "rtvp": "RTVP"}
_PARAMETERS = (
    "Parameters, in millions, are of the network without its text encoder here; the paper does not say."
)

COMPARISONS: Mapping[str, tuple[Comparison, ...]] = {
    "table2a": (
        Comparison(
            "table2a",
            "closed",
            {"expert": "YOLOv8-S", "rtvp": "RTVP"},
            "Precision and recall here are means over the names at the threshold where the mean F1 over the "
            "test side is best, for every arm alike.",
        ),
    ),
    "table2b": (
        Comparison("table2b", "zero-shot-category", _ZERO_SHOT, _PARAMETERS),
        Comparison("table2b", "zero-shot-meaning", _ZERO_SHOT, _PARAMETERS),
        Comparison("table2b", "zero-shot-scene", _ZERO_SHOT, _PARAMETERS),
    ),
    "table3": (Comparison("table3", "coco", {"expert": "YOLOv8-S", "rtvp": "RTVP"}),),
    "table4": (
        Comparison(
            "table4",
            "lvis",
            {"yolo-world-like": "YOLO-W (O365)", "rtvp": "RTVP (O365)"},
            "Trained on the common and frequent categories of LVIS here (its base), not on Objects365.",
        ),
    ),
    "table5": (
        Comparison("table5-closed", "closed", _ABLATION),
        Comparison("table5-zero-shot", "zero-shot-category", _ABLATION),
    ),
    "table6": (
        Comparison("table6", "zero-shot-category", {"patch-32": "32", "patch-64": "64", "patch-128": "128"}),
    ),
}


def comparison_table(comparison: Comparison, asked: str, results: Sequence[RunResult]) -> ResultTable:
    """The paper's table with our columns beside.

    Args:
        comparison: what it compares.
        asked: what the detectors were prompted with, in words.
        results: of its arms on its task, all of one budget; peers come as rows of their own.
    """
    arms = dict.fromkeys([*comparison.rows, *(run.arm for run in results)])
    runs = {arm: [run for run in results if run.arm == arm] for arm in arms}
    rows = [
        OurRow(own[0].title, comparison.rows.get(arm), _trained_as(own[0]), tuple(run.figures for run in own))
        for arm, own in runs.items()
        if own
    ]
    notes = [_how_measured(comparison, asked, results), _BESIDE]
    notes += [comparison.note] if comparison.note else []
    table = beside_paper(paper_tables()[comparison.paper], rows, notes)
    return replace(table, title=f"{table.title} (here: {comparison.task})")


_BESIDE = (
    "The paper's columns come from its own images, splits, encoders and budget, none of which is published: "
    "differences between rows can be compared, values between columns cannot."
)
_SMOKE = "This budget shows that everything runs; it is too little to judge by."


def _how_measured(comparison: Comparison, asked: str, results: Sequence[RunResult]) -> str:
    first = results[0]
    warning = f" {_SMOKE}" if first.budget == "smoke" else ""
    return (
        f"Here: budget {first.budget}, {seeds_counted(results)}; the same images and steps for every arm, "
        "beside an expert's own, which the table names; "
        f"tested on {first.images} images of {comparison.task}, asked for {asked}.{warning}"
    )


def _trained_as(run: RunResult) -> str:
    """Encoders, input and budget of a run, in a line."""
    if run.config is None:
        return "as it comes, not trained here"
    config = TrainConfig.model_validate(run.config)
    detector, expert = config.detector, config.expert
    before = expert.pretraining.steps if expert is not None else 0
    if expert is not None and ARMS[run.arm].closed_set:
        parts = [f"{expert.image_encoder}, learning", "no text"]
        steps = f"{before} steps of {expert.pretraining.batch_size}"
    else:
        parts = [f"{detector.image_encoder.name}, {_learns(config)}", detector.text_encoder]
        steps = f"{f'{before} (expert) + ' if before else ''}{config.training.steps} steps of "
        steps += str(config.training.batch_size)
    return "; ".join([*parts, f"{detector.input_size} px", steps])


def _learns(config: TrainConfig) -> str:
    """What the image encoder does while RTVP is trained."""
    if config.training.thaw_beyond is not None:
        return "late blocks learning"
    return "frozen" if config.detector.image_encoder.frozen else "learning"
