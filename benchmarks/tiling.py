"""What tiles find that the whole picture does not, by size of defect.

    python benchmarks/tiling.py --data FOLDER_OF_DATA_SETS --sets deeppcb,weld-bead,wood-surface \
        [--tiles none,auto,320] [--panel 3] [--weights FILE] [--json FILE]

Each set is asked for its own class names, on the pictures of it that training kept for validation (the same
share, seed and groups as `rtvp train` keeps), or on all of them if the model never saw the set. ``--panel 3``
puts three times three pictures of a set side by side, as boards come in panels: defects stay as large, in px,
and have a ninth of their share of the picture.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import rtvp
from new_products import trained_on
from rtvp.data.images import read_image
from rtvp.data.labelled import LabelledSet, read_sources
from rtvp.evaluate import evaluate
from rtvp.measure import RtvpNamed, make_prompts, measure
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.mmio.splits import split_by_group
from rtvp.terminal import make_progress
from rtvp.tiling import Tiling

FIGURES = ("AP", "AP50", "APs", "APm", "APl", "ARs", "auroc", "false_per_good")


def main() -> None:
    """Measure, print a line a set and way, write JSON."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        report = _report(arguments, Path(folder))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _report(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    model = rtvp.load(arguments.weights, size=arguments.size)
    known = trained_on(arguments.weights)
    report: dict[str, Any] = {
        "model": model.name,
        "size": model.size,
        "threshold": model.threshold,
        "panel": arguments.panel,
        "sets": {},
    }
    for own in read_sources(arguments.data, arguments.sets.split(",")):
        if own.name in known:
            own = replace(own, images=split_by_group(own.images, arguments.share, arguments.seed)[1])
        if arguments.panel > 1:
            own = _panels(own, arguments.panel, folder)
        found = {tile: _measured(model, own, tile) for tile in arguments.tiles.split(",")}
        report["sets"][own.name] = {
            "images": len(own.images),
            "boxes": sum(len(record.annotations) for record in own.images),
            "seen_in_training": own.name in known,
            "tiles": found,
        }
        for tile, figures in found.items():
            print(own.name, tile, {name: figures[name] for name in FIGURES}, sep=" | ", flush=True)
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names of `rtvp mmio sources`, with commas")
    parser.add_argument("--tiles", default="none,auto", help="none, auto, or sides in px, with commas")
    parser.add_argument("--panel", type=int, default=1, help="pictures side by side, in rows and columns")
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped model if left out")
    parser.add_argument("--size", type=int, help="side of the network input, px; the model's own if left out")
    parser.add_argument("--share", type=float, default=0.2, help="validation_share of the model's training")
    parser.add_argument("--seed", type=int, default=0, help="of the model's training")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _panels(own: LabelledSet, count: int, folder: Path) -> LabelledSet:
    """Each ``count`` times ``count`` pictures of one shape as one; those that are left over are left out."""
    by_shape: dict[tuple[int, int], list[ImageRecord]] = {}
    for record in own.images:
        by_shape.setdefault((record.width, record.height), []).append(record)
    panels: list[ImageRecord] = []
    for (width, height), records in by_shape.items():
        for start in range(0, len(records) - count**2 + 1, count**2):
            canvas = np.empty((count * height, count * width, 3), np.uint8)
            annotations: list[Annotation] = []
            for place, record in enumerate(records[start : start + count**2]):
                top, left = height * (place // count), width * (place % count)
                canvas[top : top + height, left : left + width] = read_image(record.path)
                for one in record.annotations:
                    x1, y1, x2, y2 = one.box_xyxy
                    annotations.append(Annotation(one.name, (x1 + left, y1 + top, x2 + left, y2 + top)))
            path = folder / f"{own.name}-{len(panels)}-{width}x{height}.png"
            Image.fromarray(canvas).save(path)
            panels.append(ImageRecord(path, count * width, count * height, tuple(annotations), path.name))
    return replace(own, images=tuple(panels))


def _measured(model: rtvp.Detector, own: LabelledSet, tile: str) -> dict[str, Any]:
    tiling = None if tile == "none" else Tiling.of(tile)
    detector = RtvpNamed(model.network, model.text_encoder, model.size, tiling=tiling)
    with make_progress() as progress:
        bar = progress.add_task(f"{own.name}: {tile}", total=len(own.images))
        outcomes = measure(detector, [own], make_prompts("own", ()), on_image=lambda: progress.advance(bar))
    found = evaluate(outcomes, threshold=model.threshold)
    return {
        **{name: _rounded(found.figures[name]) for name in FIGURES},
        "tiles_an_image": _mean_tiles(own, tiling, model.size),
        "by_share_of_image": {
            share: {key: _rounded(value) for key, value in row.items()} for share, row in found.sizes.items()
        },
    }


def _mean_tiles(own: LabelledSet, tiling: Tiling | None, size: int) -> float:
    if tiling is None:
        return 0.0
    counts = [len(tiling.windows(record.width, record.height, size)) for record in own.images]
    return round(sum(counts) / len(counts), 1)


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 4)


if __name__ == "__main__":
    main()
