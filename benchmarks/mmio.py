"""How fast the benchmark builder is, and whether the cost of an image stays flat.

    python benchmarks/mmio.py convert [--boxes 1000000]
    python benchmarks/mmio.py build [--images 1000 10000 100000] [--jobs 2]
    python benchmarks/mmio.py build --data FOLDER_OF_DATA_SETS

``convert`` times `rtvp mmio convert coco` on a generated file; ``build`` times `rtvp mmio build` on generated
images, or on real sets. Each runs in a process of its own; memory is its peak and that of its largest worker.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

BOXES_AN_IMAGE = 100
SIDE = 64  # px, of generated images
RUN = """
import resource, sys
from rtvp.cli import main
code = main(sys.argv[1:])
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print(resource.getrusage(who).ru_maxrss // 1024)
sys.exit(code)
"""


def main() -> None:
    """Generate, run, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["convert", "build"])
    parser.add_argument("--boxes", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--data", type=Path, help="build these sets instead of generated ones")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.what == "convert":
            source = write_coco(folder, arguments.boxes)
            seconds, memory = run("mmio", "convert", "coco", str(source), str(folder / "out.json"))
            print(f"{arguments.boxes} boxes: {seconds:.1f} s, {memory}")
            return
        if arguments.data is not None:
            seconds, memory = build(arguments.data, folder, arguments.jobs)
            print(f"{arguments.data.name}: {seconds:.1f} s, {memory}")
            return
        for count in arguments.images:
            root = folder / str(count)
            write_set(root, count)
            seconds, memory = build(root, folder / f"built{count}", arguments.jobs)
            print(
                f"{count} images: {seconds:.1f} s, {1000 * seconds / count:.2f} ms an image, {memory}",
                flush=True,
            )


def build(root: Path, out: Path, jobs: int) -> tuple[float, str]:
    """As `run`, of a whole build."""
    return run("mmio", "build", "--root", str(root), "--out", str(out), "--jobs", str(jobs))


def run(*arguments: str) -> tuple[float, str]:
    """Seconds of one call of the command line, and its memory in words."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    own, worker = done.stdout.split()[-2:]
    return seconds, f"{own} MiB, largest worker {worker} MiB"


def write_coco(folder: Path, boxes: int) -> Path:
    """A COCO file with many boxes on few images, and the images."""
    source = folder / "set"
    source.mkdir()
    rng = np.random.default_rng(0)
    count = max(1, boxes // BOXES_AN_IMAGE)
    blank = cv2.imencode(".png", np.zeros((480, 640), np.uint8))[1].tobytes()
    for number in range(count):
        (source / f"{number:06}.png").write_bytes(blank)
    corners, sides = rng.uniform(0, 400, (boxes, 2)).round(1), rng.uniform(4, 80, (boxes, 2)).round(1)
    document = {
        "images": [
            {"id": i + 1, "file_name": f"{i:06}.png", "width": 640, "height": 480} for i in range(count)
        ],
        "categories": [{"id": i + 1, "name": f"class {i}"} for i in range(20)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": i % count + 1,
                "category_id": i % 20 + 1,
                "bbox": [*corners[i], *sides[i]],
            }
            for i in range(boxes)
        ],
    }
    (source / "instances.json").write_text(json.dumps(document))
    return source


def write_set(root: Path, count: int) -> None:
    """A set in the layout of one of the table: different pictures, one defect each."""
    base = root / "garment-dirt" / "DatasetUsed"
    for part in ("images", "labels"):
        (base / "train" / part).mkdir(parents=True)
    (base / "data.yaml").write_text("names: [Dirty_mark]\n")
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(base / f"train/images/{number:06}.jpg"), picture)
        (base / f"train/labels/{number:06}.txt").write_text("0 0.5 0.5 0.25 0.25\n")


if __name__ == "__main__":
    main()
