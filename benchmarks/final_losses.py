"""How well each arm of a table fitted what it was trained on: the losses at the end of training.

    python benchmarks/final_losses.py [--item table5] [--budget cpu] [--results results]

Means and standard deviations over seeds, of the mean of the last four rows of each run's log (100 steps).
Terms are as they enter the sum, but for their weights. Reads what `rtvp reproduce` wrote.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

from rtvp.reproduce.results import RunResult, read_results

TERMS = ("classification", "box", "distance")  # which all arms have
LAST_ROWS = 4


def main() -> None:
    """Print a row an arm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--item", default="table5")
    parser.add_argument("--budget", default="cpu")
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    runs: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for run in read_results(arguments.results):
        if (run.item, run.budget) == (arguments.item, arguments.budget) and run.curve:
            runs[run.task, run.title].append(run)
    print("split | trained as | seeds |", " | ".join(TERMS), "| AP, points")
    for (task, title), own in runs.items():
        cells = [_spread([_last(run, term) for run in own]) for term in TERMS]
        cells.append(_spread([100 * (run.figures["AP"] or 0.0) for run in own]))
        print(task, title, len(own), *cells, sep=" | ")


def _last(run: RunResult, term: str) -> float:
    return fmean(row[term] for row in run.curve[-LAST_ROWS:])


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
