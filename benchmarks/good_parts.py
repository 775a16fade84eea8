"""What comparing with good parts brings, set by set, on products that a model was never trained on.

    python benchmarks/good_parts.py --data FOLDER_OF_DATA_SETS --sets magnetic-tile,deeppcb,kolektorsdd \
        --weights open [--seed 0] [--json FILE]

Half of the good parts of each set (groups of images that show the same thing, at random) are compared with;
all others, good and defective, are looked at, without and with the comparison.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import rtvp
from new_products import refuse_known
from rtvp.data.labelled import LabelledSet, read_sources
from rtvp.evaluate import Outcome, evaluate
from rtvp.measure import Prompting, RtvpNamed, make_prompts, measure
from rtvp.predict import Detector

ASKED: dict[str, Prompting] = {"names": "own", "defect": "generic"}
FIGURES = ("AP", "AP50", "auroc", "false_per_good", "missed")


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names of `rtvp mmio sources`, with commas")
    parser.add_argument("--weights", default="open", help="checkpoint, or the name of a shipped model")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of good parts")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    model, names = rtvp.load(arguments.weights), arguments.sets.split(",")
    refuse_known(arguments.weights, names)
    found = {}
    for own in read_sources(arguments.data, names):
        reference, rest = parted(own, arguments.seed)
        compared = model.compared_with([record.path for record in reference.images])
        found[own.name] = {
            "reference": len(reference.images),
            "good": sum(not record.annotations for record in rest.images),
            "defective": sum(bool(record.annotations) for record in rest.images),
            "alone": figures(model, rest),
            "compared": figures(compared, rest),
        }
        print(
            own.name, *(f"{key}: {value}" for key, value in found[own.name].items()), sep="\n  ", flush=True
        )
    if arguments.json is not None:
        about = {"model": model.name, "threshold": model.threshold, "seed": arguments.seed, "sets": found}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(about, indent=1) + "\n")


def parted(own: LabelledSet, seed: int) -> tuple[LabelledSet, LabelledSet]:
    """Good images of half of the groups that have any, and all images of the other groups."""
    groups = sorted({record.group for record in own.images if not record.annotations})
    taken = set(random.Random(seed).sample(groups, len(groups) // 2))
    good = tuple(r for r in own.images if r.group in taken and not r.annotations)
    return replace(own, images=good), replace(
        own, images=tuple(r for r in own.images if r.group not in taken)
    )


def figures(model: Detector, images: LabelledSet) -> dict[str, dict[str, float | None]]:
    """Of the prompts' both kinds, at the model's threshold."""
    detector, found = RtvpNamed(model.network, model.text_encoder, model.size), {}
    for asked, prompting in ASKED.items():
        prompts = make_prompts(prompting, ())
        outcomes = measure(detector, [images], prompts)
        values = evaluate(outcomes, threshold=model.threshold).figures | {"missed": missed(outcomes, model)}
        found[asked] = {n: None if math.isnan(values[n]) else round(values[n], 4) for n in FIGURES}
    return found


def missed(outcomes: list[Outcome], model: Detector) -> float:
    """Share of the defective images in which nothing exceeds the model's threshold."""
    best = [
        max((score for _, score, _ in each.predictions), default=0.0) for each in outcomes if not each.is_good
    ]
    return sum(score <= model.threshold for score in best) / len(best)


if __name__ == "__main__":
    main()
