"""Whether a calibration keeps its promise on scenes that the model never saw.

    python benchmarks/calibration.py --data FOLDER_OF_DATA_SETS --sets magnetic-tile,welding-seam \
        [--weights open] [--rates 0.05,0.1] [--draws 200] [--json FILE]

Every image is looked at once. Then, draw by draw, half of a set's good images (no group of images of one part
on both sides) set the thresholds of `rtvp calibrate`, and the other half and all defective images are judged
by them. A set that the checkpoint was trained on is refused.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

import rtvp
from new_products import refuse_known
from rtvp.data.labelled import LabelledSet, read_sources
from rtvp.errors import RtvpError
from rtvp.evaluate.image_level import auroc
from rtvp.mmio.schema import ImageRecord
from rtvp.predict import Detector, ImageProblem
from rtvp.predict.calibration import Scores, choose_thresholds
from rtvp.terminal import make_progress


def main() -> None:
    """Measure, print a line a set and rate, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names of `rtvp mmio sources`, with commas")
    parser.add_argument("--weights", help="checkpoint or name; the shipped model if left out")
    parser.add_argument("--prompts", help="as in `rtvp detect`; each set's own class names if left out")
    parser.add_argument("--rates", default="0.05,0.1", help="of false alarms, as promised")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--size", type=int)
    parser.add_argument("--tile")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    names = tuple(arguments.sets.split(","))
    refuse_known(arguments.weights, names)
    detector = rtvp.load(arguments.weights, size=arguments.size)
    rates = [float(rate) for rate in arguments.rates.split(",")]
    found = {}
    for own in read_sources(arguments.data, names):
        prompts = arguments.prompts or sorted(own.vocabulary)
        scores = _scores(detector, own, prompts, arguments.tile)
        found[own.name] = _judge(own, scores, rates, arguments.draws)
        print(own.name, json.dumps(found[own.name], indent=1), flush=True)
    if arguments.json is not None:
        about = {"model": detector.name, "size": detector.size, "tile": arguments.tile}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({**about, "draws": arguments.draws, "sets": found}, indent=1) + "\n"
        )


def _scores(detector: Detector, own: LabelledSet, prompts: str | list[str], tile: str | None) -> Scores:
    with make_progress() as progress:
        paths = [record.path for record in own.images]
        results = detector.detect_many(paths, prompts, threshold=0.0, tile=tile)
        found = []
        for result in progress.track(results, len(paths), description=own.name):
            if isinstance(result, ImageProblem):
                raise RtvpError(result.message)
            found.append(result.presence)
    return np.array(found, dtype=np.float64)


def _judge(own: LabelledSet, scores: Scores, rates: list[float], draws: int) -> dict[str, object]:
    bad = np.array([bool(record.annotations) for record in own.images])
    figures: dict[str, object] = {
        "good": int((~bad).sum()),
        "defective": int(bad.sum()),
        "auroc": round(auroc(scores.max(axis=1), bad.astype(float), (~bad).astype(float)), 4),
    }
    for rate in rates:
        alarms, misses, refused = [], [], ""
        for seed in range(draws):
            used = _half_of_the_good(own.images, seed)
            try:
                thresholds, *_ = choose_thresholds(scores[~bad & used], None, "false alarms", rate)
            except RtvpError as error:
                refused = str(error)
                break
            alarms.append(float((scores[~bad & ~used] > thresholds).any(axis=1).mean()))
            misses.append(float((scores[bad] <= thresholds).all(axis=1).mean()))
        figures[f"at most {rate:g}"] = refused or {
            "false alarms of fresh good images": round(float(np.mean(alarms)), 4),
            "draws within the rate": round(float(np.mean(np.array(alarms) <= rate)), 4),
            "defective images missed": round(float(np.mean(misses)), 4),
        }
    return figures


def _half_of_the_good(images: tuple[ImageRecord, ...], seed: int) -> np.ndarray:
    """[N] bool: whether the image's group is of those, drawn at random, that hold half of the good images."""
    good = Counter(record.group for record in images if not record.annotations)
    chosen: set[str] = set()
    for group in np.random.default_rng(seed).permutation(sorted(good)).tolist():
        if 2 * sum(good[each] for each in chosen) < good.total():
            chosen.add(group)
    return np.array([record.group in chosen for record in images])


if __name__ == "__main__":
    main()
