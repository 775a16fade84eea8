"""What the arms are trained and measured on: the splits of the benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from rtvp.config import TrainConfig
from rtvp.data.labelled import LabelledSet, read_split_sets
from rtvp.evaluate.evaluation import Frequency
from rtvp.evaluate.matching import COCO_LIMITS, Limits
from rtvp.evaluate.outcome import Outcome
from rtvp.measure import NamedDetector, Prompting, make_prompts, measure
from rtvp.mmio.splits import CLOSED
from rtvp.mmio.zero_shot import CATEGORY, MEANING, SCENE
from rtvp.train.data import RunData, read_run_data

OnImage: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the data lies.

    Attributes:
        data: folder of all sets of the benchmark.
        benchmark: finished build of it.
        natural: folder of MS-COCO or LVIS.
    """

    data: Path = Path()
    benchmark: Path = Path()
    natural: Path = Path()


@dataclass(frozen=True, slots=True)
class Side:
    """The test side of a task.

    Attributes:
        digest: of its images and labels.
        images: number of images.
        measure: detects in all of them; calls back after each.
        frequencies: name -> rare, common or frequent in training, where that is told apart.
        limits: how many detections count.
    """

    digest: str
    images: int
    measure: Callable[[NamedDetector, OnImage], list[Outcome]]
    frequencies: Mapping[str, Frequency] | None = None
    limits: Limits = COCO_LIMITS


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt and what is asked.

    Attributes:
        name: in the paths of results.
        asked: what the detectors are prompted with, in words.
        configure: the budget's configuration -> that of this task.
        read_training: reads what is trained on.
        read_test: reads the test side, all of it or about so many images.
    """

    name: str
    asked: str
    configure: Callable[[TrainConfig], TrainConfig]
    read_training: Callable[[TrainConfig, Places], RunData]
    read_test: Callable[[Places, int | None], Side]


def split_task(split: str, prompting: Prompting, asked: str) -> Task:
    """A split of the benchmark, named after it."""

    def configure(config: TrainConfig) -> TrainConfig:
        return config.model_copy(update={"data": config.data.model_copy(update={"split": split})})

    def read_training(config: TrainConfig, places: Places) -> RunData:
        return read_run_data(config, places.data, places.benchmark)

    def read_test(places: Places, at_most: int | None) -> Side:
        sides = read_split_sets(places.benchmark, places.data, split)
        sets = some_images(sides.test, at_most)
        prompts = make_prompts(prompting, (*sides.seen, *sides.unseen), sides.unseen)

        def run(detector: NamedDetector, on_image: OnImage) -> list[Outcome]:
            return measure(detector, sets, prompts, on_image=on_image)

        return Side(sides.digest, sum(len(labelled.images) for labelled in sets), run)

    return Task(split.replace("/", "-"), asked, configure, read_training, read_test)


def some_images(sets: Sequence[LabelledSet], at_most: int | None) -> tuple[LabelledSet, ...]:
    """Every n-th image of each set, so that there are about ``at_most`` in all; of each set at least one."""
    total = sum(len(labelled.images) for labelled in sets)
    step = 1 if at_most is None else max(1, math.ceil(total / at_most))
    return tuple(replace(labelled, images=labelled.images[::step]) for labelled in sets)


SPLIT_TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        split_task(CLOSED, "all", "all names of the benchmark at once"),
        split_task(CATEGORY, "unseen", "the unseen names"),
        split_task(MEANING, "unseen", "the unseen names"),
        split_task(SCENE, "unseen", "the unseen names"),
    )
}
