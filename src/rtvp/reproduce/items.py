"""What `rtvp reproduce` makes: one visible table of items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rtvp.measure import NamedDetector
from rtvp.mmio.built import read_build
from rtvp.reproduce.benchmark import figure2, table1
from rtvp.reproduce.comparisons import COMPARISONS, comparison_table
from rtvp.reproduce.levers import levers, scene_curve
from rtvp.reproduce.natural import COCO_LAYOUT, LVIS_LAYOUT, coco_task, lvis_task
from rtvp.reproduce.pictures import figure4, figure5
from rtvp.reproduce.runner import Runner
from rtvp.reproduce.tables import ResultTable
from rtvp.reproduce.tasks import SPLIT_TASKS

TASKS = {**SPLIT_TASKS, **{task.name: task for task in (coco_task(), lvis_task())}}


@dataclass(frozen=True, slots=True)
class Item:
    """A table or figure of the paper.

    Attributes:
        title: what it shows.
        make: trains, measures and draws what it needs, and gives its tables.
        trains: whether its figures depend on the budget.
        takes_peers: whether detectors of other people can stand in it.
        option: of the command line, for data that is not the benchmark's.
        layout: of the folder that the option names.
    """

    title: str
    make: Callable[[Runner, Sequence[NamedDetector]], list[ResultTable]]
    trains: bool = True
    takes_peers: bool = False
    option: str = ""
    layout: str = ""


def _compare(item: str) -> Callable[[Runner, Sequence[NamedDetector]], list[ResultTable]]:
    def make(runner: Runner, peers: Sequence[NamedDetector]) -> list[ResultTable]:
        tables = []
        for comparison in COMPARISONS[item]:
            task = TASKS[comparison.task]
            results = runner.run(item, task, tuple(comparison.rows))
            results += [runner.run_peer(item, task, peer) for peer in peers]
            tables.append(comparison_table(comparison, task.asked, results))
        return tables

    return make


def _ours(
    make: Callable[[Runner], list[ResultTable]],
) -> Callable[[Runner, Sequence[NamedDetector]], list[ResultTable]]:
    return lambda runner, _: make(runner)


def _table1(runner: Runner, _: Sequence[NamedDetector]) -> list[ResultTable]:
    return [table1(read_build(runner.places.benchmark))]


def _figure2(runner: Runner, _: Sequence[NamedDetector]) -> list[ResultTable]:
    return [figure2(read_build(runner.places.benchmark), runner.results / "figure2")]


ITEMS: Mapping[str, Item] = {
    "table1": Item("the benchmark beside other sets", _table1, trains=False),
    "table2a": Item("closed scenario, beside a closed-set expert", _compare("table2a")),
    "table2b": Item(
        "zero-shot on three splits, beside a YOLO-World-S-like detector",
        _compare("table2b"),
        takes_peers=True,
    ),
    "table3": Item("MS-COCO, closed", _compare("table3"), option="--coco", layout=COCO_LAYOUT),
    "table4": Item(
        "LVIS, zero-shot", _compare("table4"), takes_peers=True, option="--lvis", layout=LVIS_LAYOUT
    ),
    "table5": Item("each part left out, closed and zero-shot", _compare("table5")),
    "table6": Item("patch sizes of the sparse sampling", _compare("table6")),
    "figure2": Item("what the benchmark holds", _figure2, trains=False),
    "figure4": Item("regions of unseen classes under four prompts", figure4),
    "figure5": Item("attention maps and detections", figure5, takes_peers=True),
    "levers": Item("what buys zero-shot: texts, generated and pasted defects, encoder", _ours(levers)),
    "scenes": Item("what buys zero-shot: the number of scenes", _ours(scene_curve)),
}
