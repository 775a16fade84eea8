"""What a model finds on products it was never trained on, set by set.

    python benchmarks/new_products.py --data FOLDER_OF_DATA_SETS --sets tile-mvtec,fabric-roboflow \
        [--weights runs/general/detector.safetensors] [--tile auto] [--json FILE]

Each set is asked for its own class names, all at once, and for `defect`; the means count every set alike. A
set that the checkpoint was trained on is refused: its figures would say nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import rtvp
from rtvp.data.labelled import read_sources
from rtvp.evaluate import evaluate
from rtvp.measure import Prompting, RtvpNamed, make_prompts, measure
from rtvp.models.build import load_detector
from rtvp.models.weights import find_checkpoint
from rtvp.terminal import make_progress
from rtvp.tiling import Tiling

ASKED: dict[str, Prompting] = {"names": "own", "defect": "generic"}
FIGURES = ("AP", "AP50", "auroc", "false_per_good")


def main() -> None:
    """Measure, print a line a set, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names of `rtvp mmio sources`, with commas")
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped model if left out")
    parser.add_argument("--size", type=int, help="side of the network input, px; the model's own if left out")
    parser.add_argument("--tile", help="auto, or the side of a tile in px")
    parser.add_argument("--images", type=int, default=10**9, help="of a set, at most about so many")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    names = tuple(arguments.sets.split(","))
    refuse_known(arguments.weights, names)
    model = rtvp.load(arguments.weights, size=arguments.size)
    tiling = Tiling.of(arguments.tile)
    detector = RtvpNamed(model.network, model.text_encoder, model.size, tiling=tiling)
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for own in read_sources(arguments.data, names):
        step = math.ceil(len(own.images) / arguments.images)
        images = own.images[::step]
        good = sum(not record.annotations for record in images)
        found[own.name] = {"images": {"all": len(images), "good": good}}
        for asked, prompting in ASKED.items():
            with make_progress() as progress:
                bar = progress.add_task(f"{own.name}: {asked}", total=len(images))
                outcomes = measure(
                    detector,
                    [replace(own, images=images)],
                    make_prompts(prompting, ()),
                    on_image=lambda bar=bar, progress=progress: progress.advance(bar),  # type: ignore[misc]
                )
            figures = evaluate(outcomes, threshold=model.threshold).figures
            kept = {name: figures[name] for name in FIGURES}
            found[own.name][asked] = {n: None if math.isnan(v) else round(v, 4) for n, v in kept.items()}
        print(own.name, *(f"{asked}: {found[own.name][asked]}" for asked in ASKED), sep="\n  ", flush=True)
    means = {asked: {name: _mean(found, asked, name) for name in FIGURES} for asked in ASKED}
    print("mean", *(f"{asked}: {means[asked]}" for asked in ASKED), sep="\n  ")
    if arguments.json is not None:
        about = {
            "model": model.name,
            "size": model.size,
            "tile": arguments.tile,
            "threshold": model.threshold,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**about, "mean": means, "sets": found}, indent=1) + "\n")


def trained_on(weights: str | Path | None) -> set[str]:
    """Names of the sets that a checkpoint, or the shipped model, was trained on."""
    return set(load_detector(find_checkpoint(weights))[2].get("trained_on", "").split(", "))


def refuse_known(weights: str | Path | None, names: Sequence[str]) -> None:
    """SystemExit if the checkpoint was trained on any of these sets."""
    if trained := sorted(trained_on(weights) & set(names)):
        raise SystemExit(f"error: --sets: the model was trained on {', '.join(trained)}")


def _mean(found: dict[str, dict[str, dict[str, float | None]]], asked: str, name: str) -> float | None:
    values = [value for own in found.values() if (value := own[asked][name]) is not None]
    return round(fmean(values), 4) if values else None


if __name__ == "__main__":
    main()
