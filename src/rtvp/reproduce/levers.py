"""What buys zero-shot: not in the paper, but the question that its tables leave open.

Both items ask the scenes that the split by scenes keeps from training for the unseen names, and change one
thing of RTVP's training at a time: what it learns from, or how many scenes of it there are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from rtvp.config import TrainConfig
from rtvp.data.labelled import read_split_sets
from rtvp.mmio.zero_shot import SCENE
from rtvp.reproduce.arms import LEVER_ARMS
from rtvp.reproduce.results import RunResult, seeds_counted
from rtvp.reproduce.runner import Runner
from rtvp.reproduce.tables import ResultTable, spread
from rtvp.reproduce.tasks import SPLIT_TASKS, Places, Task
from rtvp.train.data import RunData, read_run_data

SCENE_TASK = SPLIT_TASKS[SCENE.replace("/", "-")]
SCENE_COUNTS = (2, 4, 8)  # and all there are
COMPARED = ("rtvp", *LEVER_ARMS)
COLUMNS: Mapping[str, str] = {  # figure -> heading
    "AP": "AP",
    "AP50": "AP50",
    "AP50_agnostic": "AP50, whatever the name",
    "auroc": "AUROC of images",
}
FAR = 100  # scenes that the curve is drawn out to


def task_of_scenes(count: int) -> Task:
    """The split by scenes with ``count`` of its training scenes; fewer are a part of more, for each seed."""

    def read_training(config: TrainConfig, places: Places) -> RunData:
        sides = read_split_sets(places.benchmark, places.data, SCENE)
        scenes = sorted({labelled.scene for labelled in sides.train})
        random.Random(config.seed).shuffle(scenes)
        kept = [labelled.name for labelled in sides.train if labelled.scene in scenes[:count]]
        chosen = config.data.model_copy(update={"sources": tuple(kept)})
        return read_run_data(config.model_copy(update={"data": chosen}), places.data, places.benchmark)

    return replace(SCENE_TASK, name=f"{SCENE_TASK.name}-{count}", read_training=read_training)


def levers(runner: Runner) -> list[ResultTable]:
    """RTVP, trained on more or less."""
    results = runner.run("levers", SCENE_TASK, COMPARED)
    by_arm = {arm: [run for run in results if run.arm == arm] for arm in COMPARED}
    rows = [(own[0].title, *_cells(own)) for own in by_arm.values()]
    return [
        ResultTable("What is learnt from", ("trained as", *COLUMNS.values()), tuple(rows), (_note(results),))
    ]


def scene_curve(runner: Runner) -> list[ResultTable]:
    """RTVP over the number of training scenes, the generated pictures beside them."""
    tasks = [*map(task_of_scenes, SCENE_COUNTS), SCENE_TASK]
    rows, points = [], []
    results: list[RunResult] = []
    for task in tasks:
        own = runner.run("scenes", task, ("rtvp",))
        trained = [runner.trained(task, "rtvp", run.seed).data for run in own]
        scenes = len({labelled.scene for labelled in trained[0].train})
        images = fmean(sum(len(labelled.images) for labelled in data.train) for data in trained)
        rows.append((str(scenes), str(round(images)), *_cells(own)))
        points += [(scenes, run.figures) for run in own]
        results += own
    notes = [_note(results), *(drawn_out(points, figure) for figure in ("AP50", "AP50_agnostic"))]
    columns = ("training scenes", "images", *COLUMNS.values())
    return [ResultTable("How many scenes", columns, tuple(rows), tuple(notes), words=0)]


def drawn_out(points: Sequence[tuple[int, Mapping[str, float | None]]], figure: str) -> str:
    """In words: what a doubling of the scenes adds, by least squares, and what that would come to.

    Args:
        points: scenes and figures of each run.
        figure: which of them.
    """
    known = [(math.log2(scenes), value) for scenes, own in points if (value := own.get(figure)) is not None]
    doublings, values = np.array(known, dtype=np.float64).reshape(-1, 2).T
    if len(set(doublings.tolist())) < 2:
        return f"{COLUMNS[figure]}: too few points for a line."
    slope, start = np.polyfit(doublings, values, 1)
    scatter = float(np.std(values - (slope * doublings + start)))
    far = slope * math.log2(FAR) + start
    return (
        f"{COLUMNS[figure]}: {100 * slope:+.2f} points for each doubling of the scenes (line through "
        f"{len(known)} runs, which scatter by {100 * scatter:.2f}), {100 * far:.1f} points at {FAR} scenes "
        "if it went on like this."
    )


def _cells(runs: Sequence[RunResult]) -> list[str]:
    return [spread([run.figures.get(figure) for run in runs], figure) for figure in COLUMNS]


def _note(results: Sequence[RunResult]) -> str:
    first, counted = results[0], seeds_counted(results)
    return f"Budget {first.budget}, {counted}; {first.images} images of scenes that no run was trained on."
