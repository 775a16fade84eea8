"""Whether exported models find what their checkpoint finds, on labelled images, and how long each takes.

    python benchmarks/export_parity.py --data FOLDER_OF_DATA_SETS [--weights FILE] [--images 230] \
        [--size 320] [--sets tile-mvtec,cookie] [--calibrate 100] [--threads 2] [--json FILE]

Every image is asked for the names of its own set, once with text as an input (one file for all sets) and
once with the set's names built in (one file a set), in ONNX Runtime and OpenVINO; and by 8-bit files that
were calibrated on other images of the sets. All take turns on each image, in one process. `same` is the share
of boxes (the best 20 of an image, and all over the threshold) with an IoU over 0.99, a score within 0.001 and
the same rank but for ties; AP is in points.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import rtvp
from rtvp.data.images import read_image
from rtvp.data.labelled import LabelledSet, read_sources
from rtvp.export.checkpoint import Format, export_checkpoint
from rtvp.export.verify import Comparison
from rtvp.measure import RtvpNamed
from rtvp.mmio.schema import ImageRecord
from rtvp.mmio.sources import source_table
from rtvp.models.network import Network
from rtvp.models.weights import find_checkpoint
from rtvp.terminal import make_progress
from rtvp.types import Floats, Predictions, Prompt

FILES: dict[str, tuple[Format, str]] = {"onnx": ("onnx", ".onnx"), "openvino": ("openvino", ".xml")}


class Timed:
    """A network, and the seconds of each of its runs."""

    def __init__(self, network: Network) -> None:
        self.network, self.device = network, network.device
        self.seconds: list[float] = []

    def __call__(self, images: NDArray[np.uint8], text: Floats) -> Predictions:
        """As the network."""
        start = time.perf_counter()
        found = self.network(images, text)
        self.seconds.append(time.perf_counter() - start)
        return found


class Candidate:
    """An exported model against the checkpoint."""

    def __init__(self) -> None:
        self.comparison = Comparison()
        self.seconds: list[float] = []

    def figures(self, torch_seconds: list[float]) -> dict[str, Any]:
        """For the table and the file."""
        ious, scores = self.comparison.ious, self.comparison.score_differences
        precisions = self.comparison.precisions() or (float("nan"),) * 2
        # Of the same image, one after the other: what else the machine does touches both.
        ratios = [own / other for own, other in zip(torch_seconds, self.seconds, strict=True)]
        return {
            "boxes": len(ious),
            "same": round(self.comparison.same_share, 6),
            "iou_over_0.99": round(float((ious > 0.99).mean()), 6),
            "lowest_iou": round(float(ious.min()), 6),
            "mean_iou": round(float(ious.mean()), 6),
            "largest_score_difference": round(float(scores.max()), 7),
            "mean_score_difference": round(float(scores.mean()), 7),
            "AP_torch": round(100 * precisions[0], 3),
            "AP": round(100 * precisions[1], 3),
            "network_seconds": round(statistics.median(self.seconds), 4),
            "times_as_fast_as_torch": round(statistics.median(ratios), 3),
        }


def main() -> None:
    """Export, compare, print a line a file, write JSON."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # the other runtimes'
    checkpoint = find_checkpoint(arguments.weights)
    names = arguments.sets.split(",") if arguments.sets else _available(arguments.data)
    model = rtvp.load(checkpoint, size=arguments.size)
    sets = read_sources(arguments.data, names)
    judged, calibration = _share_out(sets, arguments.images, arguments.calibrate)
    asked = tuple(Prompt(name) for name in sorted({name for own in sets for name in own.vocabulary}))
    reference = Timed(model.network)
    candidates: dict[str, Candidate] = {}
    with tempfile.TemporaryDirectory() as folder, make_progress() as progress:
        files = dict(_export_all(checkpoint, Path(folder), calibration, asked, model.size))
        networks = {name: rtvp.load(path, size=model.size) for name, path in files.items()}
        half = rtvp.load(files["text, openvino"], size=model.size, runtime="openvino-bf16")
        networks["text, openvino, bf16"] = half
        networks["checkpoint, torch-bf16"] = rtvp.load(checkpoint, size=model.size, runtime="torch-bf16")
        bar = progress.add_task("images", total=sum(len(own.images) for own in judged))
        for own in judged:
            built_in = {
                f"vocabulary, {runtime}": rtvp.load(path, size=model.size)
                for runtime, path in _with_vocabulary(checkpoint, Path(folder), own)
            }
            everyone = networks | built_in
            for name in everyone:
                candidates.setdefault(name, Candidate())
            _compare(own, reference, model, everyone, candidates, lambda: progress.advance(bar))
    figures = {name: candidate.figures(reference.seconds) for name, candidate in candidates.items()}
    for name, row in figures.items():
        print(name, row, sep="\n  ")
    if arguments.json is not None:
        about = {
            "model": model.name,
            "size": model.size,
            "threads": arguments.threads,
            "images": {own.name: len(own.images) for own in judged},
            "calibrated_on": len(calibration),
            "torch_network_seconds": round(statistics.median(reference.seconds), 4),
            "versions": _versions(),
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**about, "files": figures}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped model if left out")
    parser.add_argument("--sets", help="names of `rtvp mmio sources`, with commas; all that are there else")
    parser.add_argument("--images", type=int, default=230, help="in all, as evenly as the sets allow")
    parser.add_argument("--calibrate", type=int, default=100, help="other images, for the 8-bit files")
    parser.add_argument("--size", type=int, help="side of the network input, px; the model's own if left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _available(data: Path) -> list[str]:
    return [name for name, source in source_table().items() if (data / source.folder).is_dir()]


def _share_out(
    sets: Sequence[LabelledSet], images: int, calibrate: int
) -> tuple[list[LabelledSet], list[Path]]:
    """Images that are judged, evenly from all of each set, and others to calibrate on."""
    judged, calibration = [], []
    for own in sets:
        wanted = -(-(images + calibrate) // len(sets))
        chosen = own.images[:: max(1, len(own.images) // wanted)][:wanted]
        every = max(2, round((images + calibrate) / calibrate)) if calibrate else len(chosen) + 1
        others = set(range(1, len(chosen), every))
        kept: list[ImageRecord] = [record for i, record in enumerate(chosen) if i not in others]
        judged.append(replace(own, images=tuple(kept)))
        calibration += [record.path for i, record in enumerate(chosen) if i in others]
    return judged, calibration


def _export_all(
    checkpoint: Path, folder: Path, calibration: list[Path], asked: Sequence[Prompt], size: int
) -> Iterator[tuple[str, Path]]:
    for runtime, (format, suffix) in FILES.items():
        yield f"text, {runtime}", _export(checkpoint, folder / f"text{suffix}", format)
        if calibration:
            path = folder / f"int8{suffix}"
            export_checkpoint(checkpoint, path, format, calibration=calibration, asked=asked, size=size)
            yield f"text, {runtime}, int8", path


def _with_vocabulary(checkpoint: Path, folder: Path, own: LabelledSet) -> Iterator[tuple[str, Path]]:
    prompts = _prompts(own)
    for runtime, (format, suffix) in FILES.items():
        path = folder / f"{own.name}{suffix}"
        export_checkpoint(checkpoint, path, format, vocabulary=prompts)
        yield runtime, path


def _export(checkpoint: Path, path: Path, format: Format) -> Path:
    export_checkpoint(checkpoint, path, format)
    return path


def _prompts(own: LabelledSet) -> list[Prompt]:
    return [Prompt(name) for name in sorted(own.vocabulary)]


def _compare(
    own: LabelledSet,
    reference: Timed,
    model: rtvp.Detector,
    others: dict[str, rtvp.Detector],
    candidates: dict[str, Candidate],
    on_image: Any,
) -> None:
    prompts = _prompts(own)
    checkpoint = RtvpNamed(reference, model.text_encoder, model.size, cache=model.cache)
    timed = {name: Timed(other.network) for name, other in others.items()}
    exported = {name: RtvpNamed(timed[name], others[name].text_encoder, model.size) for name in others}
    first = read_image(own.images[0].path)
    for detector in chain([checkpoint], exported.values()):
        detector.detect([first], prompts)  # text embeddings, and memory of this shape
    reference.seconds.pop()
    for network in timed.values():
        network.seconds.clear()
    for record in own.images:
        image = read_image(record.path)
        expected = checkpoint.detect([image], prompts)[0]
        for name, detector in exported.items():
            found = detector.detect([image], prompts)[0]
            candidates[name].comparison.add(expected, found, model.threshold)
            candidates[name].comparison.add_labels(expected, found, own, record, prompts)
        on_image()
    for name, network in timed.items():
        candidates[name].seconds += network.seconds


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in ("torch", "onnx", "onnxruntime", "openvino")}


if __name__ == "__main__":
    main()
