"""How much of generated pictures a model finds: defects boxed and named, false alarms on good parts.

python benchmarks/generated.py --pictures 60
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import rtvp
from rtvp.data.synthetic import DEFECT_NAMES, SyntheticSample, generate
from rtvp.evaluate.threshold import MATCH_IOU
from rtvp.models.postprocess import pairwise_iou

FIRST_SEED = 2**32  # training draws seeds below 2**31
MORE_NAMES = 10  # that a picture need not show


def main() -> None:
    """Detect in generated pictures, once asked for any defect and once by name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped model if left out")
    parser.add_argument("--pictures", type=int, default=60, help="defective ones, and as many good ones")
    parser.add_argument("--side", type=int, default=640, help="of the pictures, px")
    arguments = parser.parse_args()
    detector = rtvp.load(arguments.weights)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.pictures)
    bad = [generate(seed, arguments.side, arguments.side, good=False) for seed in seeds]
    good = [generate(seed, arguments.side, arguments.side, good=True) for seed in seeds]
    total = sum(len(sample.defects) for sample in bad)
    print(f"{len(bad)} defective pictures with {total} defects, the same {len(good)} parts without")
    for threshold in (None, 0.5):
        shown = f"threshold {threshold or 'of the model'}"
        boxed, _, wrong = _count(detector, bad, ["defect"], threshold)
        print(f"asked for 'defect', {shown}: {boxed} boxed, {wrong} boxes where nothing is")
        missed = sum(detector.detect(s.image, ["defect"], threshold=threshold).verdict == "OK" for s in bad)
        alarms = sum(detector.detect(s.image, ["defect"], threshold=threshold).verdict != "OK" for s in good)
        print(f"  verdicts: {missed} defective ones OK, {alarms} good ones NOT OK")
        boxed, named, wrong = _count(detector, bad, None, threshold)
        print(f"asked by name, {shown}: {boxed} boxed, {named} named rightly, {wrong} boxes where nothing is")


def _count(
    detector: rtvp.Detector,
    samples: list[SyntheticSample],
    prompts: list[str] | None,
    threshold: float | None,
) -> tuple[int, int, int]:
    """Defects boxed, defects boxed and rightly named, boxes on no defect."""
    boxed = named = wrong = 0
    for sample in samples:
        names = [defect.name for defect in sample.defects]
        wanted = prompts or sorted({*names, *DEFECT_NAMES[:MORE_NAMES]})
        result = detector.detect(sample.image, wanted, threshold=threshold)
        truth = np.array([defect.box_xyxy for defect in sample.defects], np.float32).reshape(-1, 4)
        hit = pairwise_iou(truth, result.boxes_xyxy) >= MATCH_IOU
        right = np.array([[label == name for label in result.labels] for name in names], dtype=bool)
        boxed += int(hit.any(axis=1).sum())
        named += int((hit & right.reshape(hit.shape)).any(axis=1).sum())
        wrong += int((~hit.any(axis=0)).sum())
    return boxed, named, wrong


if __name__ == "__main__":
    main()
