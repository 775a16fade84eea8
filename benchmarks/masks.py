"""How well masks fit, set by set: mean IoU with the labelled masks of the public sets that have them.

    python benchmarks/masks.py --data FOLDER_OF_DATA_SETS [--images 20] [--json FILE] [--fit]

Masks are made in the labelled boxes, and in the boxes that the model found (the best-scored one that overlaps
a labelled box by an IoU of 0.5, whatever its name), by every way there is: the filled box, the ellipse in it,
the visual prompt's map cut by Otsu's threshold, GrabCut from the box and from that map, `rtvp detect --masks`
without further weights, and with Mobile-SAM's where they were fetched. ``--fit`` prints the weights of
`rtvp.predict.surroundings`, from the labelled and found boxes of the sets in `FITTED`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter

import cv2
import numpy as np
from scipy.optimize import minimize

import rtvp
from rtvp.data.images import read_image
from rtvp.data.labelled import LabelledSet, read_sources
from rtvp.models.postprocess import pairwise_iou
from rtvp.models.weights import KNOWN_WEIGHTS, find, weights_home
from rtvp.predict.masks import BoolArray, View, decode_mask, make_masks, pixel_window
from rtvp.predict.sam_masks import SamMasks
from rtvp.predict.surroundings import SurroundingsMasks, scaled_crop, terms
from rtvp.terminal import make_progress

# The weights of the masks without further weights were fitted on these, all choices made on them ...
FITTED = ("car-damage-coco", "cookie", "leather-custom", "metal-plate-mpdd", "screw-mvtec", "weld-bead")
# ... and these were looked at once, at the end.
OTHERS = ("car-damaged-parts", "kolektorsdd", "magnetic-tile", "pill-mvtec", "tile-mvtec", "zipper-mvtec")
LOWEST_SCORE = 0.001
BOXES_AN_IMAGE = 15  # labelled ones that are looked at
MATCH_IOU = 0.5
PIXELS = 300  # of a box, to fit
GRABCUT_SIDE, GRABCUT_ROUNDS = 96, 4

Way = Callable[[View], Iterator[BoolArray]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image, seen through its labelled boxes and through those that were found.

    Attributes:
        views: by "labelled" and "found".
        truths: for each, the mask of every box, [H, W] bool.
    """

    views: dict[str, View]
    truths: dict[str, list[BoolArray]]


def main() -> None:
    """Measure, print a line a set, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20, help="of a set, at most")
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped model if left out")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    model = rtvp.load(arguments.weights)
    names = FITTED if arguments.fit else (*FITTED, *OTHERS)
    sets = read_sources(arguments.data, names, masks=True)
    if arguments.fit:
        print(fit([list(labelled_images(model, own, arguments.images)) for own in sets]))
        return
    makers = ways(model.device)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for own in sets:
        found[own.name] = measure(list(labelled_images(model, own, arguments.images)), makers)
        print(
            own.name, *(f"{way}: {value}" for way, value in found[own.name].items()), sep="\n  ", flush=True
        )
    means = {
        kind: {
            way: {
                key: round(fmean(found[name][way][key] for name in own), 4) for key in ("labelled", "found")
            }
            for way in makers
        }
        for kind, own in (("fitted", FITTED), ("others", OTHERS))
    }
    for kind, mean in means.items():
        print(f"mean of the {kind}", *(f"{way}: {value}" for way, value in mean.items()), sep="\n  ")
    if arguments.json is not None:
        about = {"model": model.name, "size": model.size, "images": arguments.images}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**about, "mean": means, "sets": found}, indent=1) + "\n")


def labelled_images(model: rtvp.Detector, own: LabelledSet, images: int) -> Iterator[Labelled]:
    """Images that have masks, evenly from the set, with what the model found when asked for all its names."""
    records = [each for each in own.images if any(a.mask for a in each.annotations)]
    records = records[:: math.ceil(len(records) / images)]
    with make_progress() as progress:
        for record in progress.track(records, description=own.name):
            image = read_image(record.path)
            result = model.detect(image, sorted(own.vocabulary), threshold=LOWEST_SCORE, explain=True)
            labels = [(a.box_xyxy, a.mask) for a in record.annotations if a.mask is not None][:BOXES_AN_IMAGE]
            truths = [decode_mask(mask, record.width, record.height) for _, mask in labels]
            boxes = np.array([box for box, _ in labels], np.float32)
            overlaps = pairwise_iou(boxes, result.boxes_xyxy)
            hits = overlaps >= MATCH_IOU
            matched = np.flatnonzero(hits.any(axis=1))
            best = result.boxes_xyxy[hits[matched].argmax(axis=1)] if len(matched) else boxes[:0]
            yield Labelled(
                {
                    "labelled": View(image, boxes, result.prompt_map),
                    "found": View(image, best, result.prompt_map),
                },
                {"labelled": truths, "found": [truths[index] for index in matched]},
            )


def measure(images: list[Labelled], makers: dict[str, Way]) -> dict[str, dict[str, float]]:
    """Mean IoU over the boxes of a set, their number, and milliseconds a labelled box, of every way."""
    figures: dict[str, dict[str, float]] = {}
    for way, maker in makers.items():
        own: dict[str, float] = {}
        for key in ("labelled", "found"):
            start = perf_counter()
            counts = [make_masks(maker, each.views[key]) for each in images]
            seconds = perf_counter() - start
            ious = [
                iou(decode_mask(mask, truth.shape[1], truth.shape[0]), truth)
                for each, masks in zip(images, counts, strict=True)
                for mask, truth in zip(masks, each.truths[key], strict=True)
            ]
            own |= {key: round(fmean(ious), 4), f"{key} boxes": len(ious)}
            if key == "labelled":
                own["ms a box"] = round(1000 * seconds / len(ious), 1)
        figures[way] = own
    return figures


def ways(device: str) -> dict[str, Way]:
    """All ways from boxes to masks."""
    known: dict[str, Way] = {
        "filled box": lambda view: (_filled(view, index) for index in range(len(view.boxes_xyxy))),
        "ellipse": lambda view: (_ellipse(view, index) for index in range(len(view.boxes_xyxy))),
        "prompt map": lambda view: (_prompt_map(view, index) for index in range(len(view.boxes_xyxy))),
        "GrabCut from the box": lambda view: _grabcut(view, _filled),
        "GrabCut from the prompt map": lambda view: _grabcut(view, _prompt_map),
        "surroundings": SurroundingsMasks(),
    }
    weight = KNOWN_WEIGHTS["mobile_sam"]
    if (weights_home() / weight.filename).exists():
        known["mobile_sam"] = SamMasks(find(weight.name), device)
    return known


def iou(mask: BoolArray, truth: BoolArray) -> float:
    """Intersection over union of two masks."""
    return float((mask & truth).sum() / (mask | truth).sum())


def fit(sets: list[list[Labelled]]) -> dict[str, float]:
    """Logistic regression of a pixel's label from its terms; every set has the same weight."""
    rng = np.random.default_rng(0)
    rows, truths, weights = [], [], []
    for images in sets:
        boxes = [
            (view.image, window, mask)
            for each in images
            for key, view in each.views.items()
            for window, mask in zip(view.windows(), each.truths[key], strict=True)
        ]
        for image, window, mask in boxes:
            small, inner, scale, crop = scaled_crop(image, window)
            place, unlike, strongest, inside = terms(small, inner, scale)
            size = (small.shape[1], small.shape[0])
            truth = cv2.resize(mask[crop.slices].astype(np.float32), size, interpolation=cv2.INTER_AREA)
            chosen = rng.integers(int(inside.sum()), size=PIXELS)
            ones = np.ones(inside.sum())
            rows.append(np.stack([place[inside], unlike[inside], strongest * ones, ones], axis=1)[chosen])
            truths.append(truth[inside][chosen] > 0.5)
            weights.append(np.full(PIXELS, 1 / (len(sets) * len(boxes) * PIXELS)))
    x, y, w = np.concatenate(rows), np.concatenate(truths), np.concatenate(weights)

    def loss(coefficients: np.ndarray) -> float:
        odds = x @ coefficients
        return float((w * np.logaddexp(0, np.where(y, -odds, odds))).sum())

    found = minimize(loss, np.zeros(4)).x
    return dict(zip(("PLACE", "UNLIKENESS", "STRONGEST", "BIAS"), found.round(2).tolist(), strict=True))


def _filled(view: View, index: int) -> BoolArray:
    window = view.windows()[index]
    return np.ones((window.bottom - window.top, window.right - window.left), np.bool_)


def _ellipse(view: View, index: int) -> BoolArray:
    height, width = _filled(view, index).shape
    y, x = (np.abs(np.arange(side) * 2 + 1 - side) / side for side in (height, width))
    return np.asarray(y[:, None] ** 2 + x**2 <= 1)


def _prompt_map(view: View, index: int) -> BoolArray:
    assert view.prompt_map is not None
    part = view.prompt_map[view.windows()[index].slices]
    low, high = float(part.min()), float(part.max())
    levels = ((part - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    _, mask = cv2.threshold(levels, 0, 1, cv2.THRESH_OTSU)
    return np.asarray(mask > 0)


def _grabcut(view: View, seed: Callable[[View, int], BoolArray]) -> Iterator[BoolArray]:
    """Rother et al. 2004: what surrounds the box is not it, the seed may be, the rest may not be."""
    height, width = view.image.shape[:2]
    for index, window in enumerate(view.windows()):
        left, top, right, bottom = window
        x, y = max(4, (right - left) // 2), max(4, (bottom - top) // 2)
        crop = pixel_window((left - x, top - y, right + x, bottom + y), width, height)
        state = np.full((crop.bottom - crop.top, crop.right - crop.left), cv2.GC_BGD, np.uint8)
        inner = (slice(top - crop.top, bottom - crop.top), slice(left - crop.left, right - crop.left))
        state[inner] = np.where(seed(view, index), cv2.GC_PR_FGD, cv2.GC_PR_BGD)
        scale = min(1.0, GRABCUT_SIDE / max(right - left, bottom - top))
        size = (max(1, round(scale * state.shape[1])), max(1, round(scale * state.shape[0])))
        small = cv2.resize(view.image[crop.slices], size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(state, size, interpolation=cv2.INTER_NEAREST)
        cv2.setRNGSeed(0)
        models, mode = (np.zeros((1, 65)), np.zeros((1, 65))), cv2.GC_INIT_WITH_MASK
        try:
            cv2.grabCut(small, labels, (0, 0, 1, 1), *models, GRABCUT_ROUNDS, mode)
        except cv2.error:  # no background to learn from: the box is the whole picture
            yield seed(view, index)
            continue
        is_defect = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        back = cv2.resize(is_defect, state.shape[::-1], interpolation=cv2.INTER_NEAREST)
        yield np.asarray(back[inner] > 0)


if __name__ == "__main__":
    main()
