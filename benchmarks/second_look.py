"""What a second, coarser and mirrored look at each image is worth, on new products and on known ones.

    python benchmarks/second_look.py --data FOLDER_OF_DATA_SETS --sets tile-mvtec,fabric-roboflow \
        [--weights runs/general/detector.safetensors] [--share 0.6] [--kept-aside] [--json FILE]

Scores of boxes that both looks see are averaged as logits, by as much as the box is large enough to be seen
in the coarser one. `rtvp detect` does not do this: the figures say what it would bring and cost.
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
import torch
from numpy.typing import NDArray
from torch import Tensor

import rtvp
from rtvp.data.labelled import read_sources
from rtvp.evaluate import evaluate
from rtvp.losses.boxes import pairwise_iou
from rtvp.measure import NamedDetector, Prompting, RtvpNamed, make_prompts, measure
from rtvp.mmio.splits import split_by_group
from rtvp.models.postprocess import suppress, vote
from rtvp.types import Detections, Prompt

ASKED: dict[str, Prompting] = {"names": "own", "defect": "generic"}
FIGURES = ("AP", "AP50", "auroc", "false_per_good")
UNSEEN, SEEN = 32.0, 64.0  # sides of a box, px of the first look: from here the second counts, here fully
SAME_BOX = 0.5  # overlap
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
        mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        pairs = zip(self.first.detect(images, prompts), self.second.detect(mirrored, prompts), strict=True)
        return [self._merged(image, *pair) for image, pair in zip(images, pairs, strict=True)]

    def _merged(self, image: NDArray[np.uint8], first: Detections, second: Detections) -> Detections:
        height, width = image.shape[:2]
        flipped = second.boxes_xyxy[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1])
        second = replace(second, boxes_xyxy=flipped + torch.tensor([width, 0.0, width, 0]))
        joined = (torch.cat(parts) for parts in zip(_columns(first), _columns(second), strict=True))
        boxes, scores, labels = joined
        order = scores.argsort(descending=True, stable=True)
        boxes, scores, labels = boxes[order], scores[order], labels[order]
        kept = suppress(boxes, labels, SAME_BOX)
        one, other = (_seen(boxes[kept], labels[kept], look) for look in (first, second))
        extent = (boxes[kept, 2:] - boxes[kept, :2]).clamp(min=0).prod(dim=1).sqrt()
        side = extent * self.size / math.sqrt(height * width)
        weight = ((side - UNSEEN) / (SEEN - UNSEEN)).clamp(0, 1)
        mean = ((one + weight * other) / (1 + weight)).sigmoid()
        order = mean.argsort(descending=True, stable=True)
        return Detections(vote(boxes, scores, labels, kept)[order], mean[order], labels[kept][order])


def _columns(found: Detections) -> tuple[Tensor, Tensor, Tensor]:
    return found.boxes_xyxy, found.scores, found.labels


def _seen(boxes: Tensor, labels: Tensor, look: Detections) -> Tensor:
    """[N] logit of the best box of a look at each place, of the same label."""
    if len(look.scores) == 0:
        return torch.full((len(boxes),), LEAST).logit()
    there = pairwise_iou(boxes, look.boxes_xyxy) > SAME_BOX
    there &= labels[:, None] == look.labels
    return (there * look.scores).amax(dim=1).clamp(LEAST, 1 - LEAST).logit()


def main() -> None:
    """Measure with one look and with two, print means over the sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names of `rtvp mmio sources`, with commas")
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped model if left out")
    parser.add_argument("--share", type=float, default=0.6, help="size of the second look / of the first")
    parser.add_argument(
        "--kept-aside", action="store_true", help="the fifth of each set that training keeps for validation"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    model = rtvp.load(arguments.weights)
    smaller = max(32, round(model.size * arguments.share / 32) * 32)
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
