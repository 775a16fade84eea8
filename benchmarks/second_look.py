"""What a second, coarser look at each image is worth, on new products and on known ones.

    python benchmarks/second_look.py --data FOLDER_OF_DATA_SETS --sets tile-mvtec,fabric-roboflow \
        [--weights runs/general/detector.safetensors] [--kept-aside] [--json FILE]

The second look is that of `rtvp detect --second-look` (`rtvp.second_look`).
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import rtvp
from rtvp.data.labelled import read_sources
from rtvp.evaluate import evaluate
from rtvp.measure import Prompting, RtvpNamed, make_prompts, measure
from rtvp.mmio.splits import split_by_group

ASKED: dict[str, Prompting] = {"names": "own", "defect": "generic"}
FIGURES = ("AP", "AP50", "auroc", "false_per_good")


def main() -> None:
    """Measure with one look and with two, print means over the sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names of `rtvp mmio sources`, with commas")
    parser.add_argument("--weights", type=Path, help="checkpoint, or `open`; the shipped model if left out")
    parser.add_argument(
        "--kept-aside", action="store_true", help="the fifth of each set that training keeps for validation"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    model = rtvp.load(arguments.weights)
    sets = read_sources(arguments.data, tuple(arguments.sets.split(",")))
    if arguments.kept_aside:
        sets = tuple(replace(each, images=split_by_group(each.images, 0.2, 0)[1]) for each in sets)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for looks, twice in (("one look", False), ("two looks", True)):
        detector = RtvpNamed(model.network, model.text_encoder, model.size, twice=twice)
        found[looks] = {}
        for asked, prompting in ASKED.items():
            rows = [evaluate(measure(detector, [own], make_prompts(prompting, ()))).figures for own in sets]
            columns = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in FIGURES}
            found[looks][asked] = {name: round(fmean(own), 4) for name, own in columns.items() if own}
        print(looks, *(f"{asked}: {found[looks][asked]}" for asked in ASKED), sep="\n  ", flush=True)
    if arguments.json is not None:
        about = {"model": model.name, "size": model.size, "sets": [own.name for own in sets]}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**about, "mean": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
