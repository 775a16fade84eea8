"""What a second, coarser look at each image is worth, on new products and on known ones.

    python benchmarks/second_look.py --data FOLDER_OF_DATA_SETS --sets tile-mvtec,fabric-roboflow \
        [--weights runs/general/detector.safetensors] [--kept-aside] [--json FILE]

Scores of both looks are averaged as logits; the larger a box, the more the second counts, which cannot see
small ones. `rtvp detect` looks once: the figures say why.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

import rtvp
from rtvp.data.labelled import read_sources
from rtvp.evaluate import evaluate
from rtvp.measure import NamedDetector, Prompting, RtvpNamed, make_prompts, measure
from rtvp.mmio.splits import split_by_group
from rtvp.models.postprocess import pairwise_iou, suppress, vote
from rtvp.types import Detections, Floats, Prompt

ASKED: dict[str, Prompting] = {"names": "own", "defect": "generic"}
FIGURES = ("AP", "AP50", "auroc", "false_per_good")
SHARE = 0.6  # of the first look's input side
UNSEEN, SEEN = 32.0, 64.0  # side of a box, px of the first input: from here the second counts, here fully
SAME_BOX = 0.5  # overlap from which on two boxes of one name are one
LEAST = 1e-4  # score of what a look does not see


class TwoLooks:
    """A detector that looks twice.

    Args:
        first: at the full size.
        second: at a smaller one.
        size: side of the first look's input, px.
    """

    name = "two looks"

    def __init__(self, first: NamedDetector, second: NamedDetector, size: int) -> None:
        self.first, self.second, self.size = first, second, size

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        """See `NamedDetector`."""
        pairs = zip(self.first.detect(images, prompts), self.second.detect(images, prompts), strict=True)
        scales = (self.size / math.sqrt(image.shape[0] * image.shape[1]) for image in images)
        return [_merged(*pair, scale) for pair, scale in zip(pairs, scales, strict=True)]


def _merged(first: Detections, second: Detections, scale: float) -> Detections:
    """``scale`` leads from px of the image to px of the first input."""
    scores = np.concatenate([first.scores, second.scores])
    order = np.argsort(-scores, kind="stable")
    scores, boxes = scores[order], np.concatenate([first.boxes_xyxy, second.boxes_xyxy])[order]
    labels = np.concatenate([first.labels, second.labels])[order]
    kept = suppress(boxes, labels, SAME_BOX)
    side = np.sqrt(np.maximum(boxes[kept, 2:] - boxes[kept, :2], 0).prod(axis=1)) * scale
    weight = ((side - UNSEEN) / (SEEN - UNSEEN)).clip(0, 1)
    one, other = (_seen(boxes[kept], labels[kept], each) for each in (first, second))
    mean = (1 / (1 + np.exp(-(one + weight * other) / (1 + weight)))).astype(np.float32)
    order = np.argsort(-mean, kind="stable")
    return Detections(vote(boxes, scores, labels, kept)[order], mean[order], labels[kept][order])


def _seen(boxes: Floats, labels: NDArray[np.int64], found: Detections) -> Floats:
    """[N] logit of the best box that one look found at each place, of the same label."""
    there = (pairwise_iou(boxes, found.boxes_xyxy) > SAME_BOX) & (labels[:, None] == found.labels)
    best = (there * found.scores).max(axis=1, initial=0).clip(LEAST, 1 - LEAST)
    return np.asarray(np.log(best / (1 - best)), np.float32)


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
    smaller = max(32, round(model.size * SHARE / 32) * 32)
    one, other = (RtvpNamed(model.network, model.text_encoder, size) for size in (model.size, smaller))
    sets = read_sources(arguments.data, tuple(arguments.sets.split(",")))
    if arguments.kept_aside:
        sets = tuple(replace(each, images=split_by_group(each.images, 0.2, 0)[1]) for each in sets)
    found: dict[str, dict[str, dict[str, float]]] = {}
    compared: dict[str, NamedDetector] = {"one look": one, "two looks": TwoLooks(one, other, model.size)}
    for looks, detector in compared.items():
        found[looks] = {}
        for asked, prompting in ASKED.items():
            rows = [evaluate(measure(detector, [own], make_prompts(prompting, ()))).figures for own in sets]
            columns = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in FIGURES}
            found[looks][asked] = {name: round(fmean(own), 4) for name, own in columns.items() if own}
        print(looks, *(f"{asked}: {found[looks][asked]}" for asked in ASKED), sep="\n  ", flush=True)
    if arguments.json is not None:
        about = {"model": model.name, "sizes": [model.size, smaller], "sets": [own.name for own in sets]}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**about, "mean": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
