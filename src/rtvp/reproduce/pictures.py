"""Figures 4 and 5: the trained arms, looked into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from rtvp.data.labelled import read_split_sets
from rtvp.measure import NamedDetector
from rtvp.mmio.splits import CLOSED
from rtvp.mmio.zero_shot import CATEGORY
from rtvp.reproduce.attention_figure import Shown, attention_figure
from rtvp.reproduce.embedding_figure import PromptedDetector, embedding_figure, most_frequent
from rtvp.reproduce.fgvp import prompted_regions
from rtvp.reproduce.results import RunResult
from rtvp.reproduce.runner import Runner, Trained
from rtvp.reproduce.tables import ResultTable, spread
from rtvp.reproduce.tasks import SPLIT_TASKS

ZERO_SHOT, CLOSED_SET = SPLIT_TASKS[CATEGORY.replace("/", "-")], SPLIT_TASKS[CLOSED]
FIGURE5_ARMS = ("expert", "yolo-world-like", "rtvp")

# Row of figure 4 -> what it is called, and whose detector it is.
FIGURE4: Mapping[str, tuple[str, str]] = {
    "ground-truth": ("ground-truth boxes as the prompt", "rtvp"),
    "fgvp": ("FGVP on the YOLO-World-S-like detector", "yolo-world-like"),
    "visual-only": ("visual prompt only", "no-interaction"),
    "rtvp": ("RTVP", "rtvp"),
}


def figure4(runner: Runner, _: Sequence[NamedDetector]) -> list[ResultTable]:
    """t-SNE of regions of unseen classes under four prompts, for each seed; how tight their clusters are."""
    sides = read_split_sets(runner.places.benchmark, runner.places.data, CATEGORY)
    names = most_frequent(sides.test, sides.unseen)
    results: list[RunResult] = []
    for seed in runner.seeds:
        trained = {arm: runner.trained(ZERO_SHOT, arm, seed) for _, arm in FIGURE4.values()}
        picture = runner.results / "figure4" / runner.name / f"seed-{seed}.png"
        embeddings = embedding_figure(_prompted(trained), sides.test, names, picture, seed=seed)
        for (row, (title, arm)), found in zip(FIGURE4.items(), embeddings, strict=True):
            figures = {name: None if math.isnan(value) else value for name, value in found.figures.items()}
            results.append(
                runner.write("figure4", ZERO_SHOT, row, title, seed, figures, len(found.points), trained[arm])
            )
    return [_table(results, names)]


def figure5(runner: Runner, peers: Sequence[NamedDetector]) -> list[ResultTable]:
    """Attention maps of RTVP, and its detections beside those of others, on images of the closed split.

    The picture shows images of the sets, so it is kept with the runs, not with the results.
    """
    sides = read_split_sets(runner.places.benchmark, runner.places.data, CLOSED)
    results = runner.run("figure5", CLOSED_SET, FIGURE5_ARMS, seeds=(0,))
    results += [runner.run_peer("figure5", CLOSED_SET, peer) for peer in peers]
    trained = {arm: runner.trained(CLOSED_SET, arm, 0) for arm in FIGURE5_ARMS}
    detectors = [*(one.detector() for one in trained.values()), *peers]
    shown = [
        Shown(result.title, detector, result.evaluation["operating_point"]["threshold"])
        for result, detector in zip(results, detectors, strict=True)
    ]
    picture = runner.out / "figure5" / f"{runner.name}.png"
    rows = attention_figure(trained["rtvp"].predictor(), shown, sides.test, picture)
    maps = {title: [row["auroc"][title] for row in rows] for title in rows[0]["auroc"]}
    notes = (
        "AUROC: how likely a point in a labelled box is attended to more than one outside; 50 is chance. "
        f"Mean over {len(rows)} images, budget {runner.name}. Detections at each detector's best F1.",
        f"The picture, with images of the sets: {picture}. The paper gives no numbers here.",
    )
    table = tuple((title, spread([fmean(values)], "AUROC")) for title, values in maps.items())
    return [ResultTable("What is attended to", ("map", "AUROC"), table, notes)]


def _prompted(trained: Mapping[str, Trained]) -> tuple[PromptedDetector, ...]:
    detectors = {arm: one.predictor() for arm, one in trained.items()}
    regions = prompted_regions(detectors["rtvp"])
    return tuple(
        PromptedDetector(title, detectors[arm], regions if row == "fgvp" else None, row == "ground-truth")
        for row, (title, arm) in FIGURE4.items()
    )


def _table(results: Sequence[RunResult], names: Sequence[str]) -> ResultTable:
    columns = ("silhouette", "AP", "AP50")
    rows = []
    for row, (title, _) in FIGURE4.items():
        own = [run.figures for run in results if run.arm == row]
        rows.append((title, *(spread([figures[column] for figures in own], column) for column in columns)))
    seeds = len({run.seed for run in results})
    notes = (
        f"Unseen classes: {', '.join(names)}. Values in hundredths; AP on the images of these regions alone. "
        f"Budget {results[0].budget}, seeds: {seeds}.",
        "The paper gives no numbers here: its figure shows points; its text calls the clusters of RTVP "
        "the most compact and its AP the highest.",
    )
    return ResultTable("Regions of unseen classes before the head", ("prompt", *columns), tuple(rows), notes)
