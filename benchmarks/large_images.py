"""Time and peak memory of `rtvp detect` on large pictures, by size and format, with and without tiles.

    python benchmarks/large_images.py [--megapixels 12,48,100,400] [--formats png,jpg,tif,bmp] [--json FILE]

Every run is a process of its own, from its start to the annotated picture on disk; its memory is the most
that was resident at once. The pictures are generated: textures of 1000 px side by side. TIFF is without
compression; packed pictures that are too large to be decoded at once are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latency import PEAK, processor
from rtvp.data.images import MAX_PIXELS
from rtvp.data.synthetic import DEFECT_NAMES, generate

TEXTURE = 1000  # px
WAYS = {
    "whole": [],
    "tiles": ["--tile", "auto"],
    "tiles within 2 s": ["--tile", "auto", "--tile-seconds", "2"],
}

# Runs `rtvp detect`, then tells the peak memory, MiB.
RUN = """
import sys
from rtvp.cli import main
if main(sys.argv[1:]):
    sys.exit(1)
print("@")
"""


def main() -> None:
    """Measure, print a line a run, write JSON."""
    arguments = _arguments()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in map(float, arguments.megapixels.split(",")):
            picture = _picture(megapixels)
            for suffix in arguments.formats.split(","):
                if suffix not in ("tif", "bmp") and picture.width * picture.height > MAX_PIXELS:
                    continue
                path = Path(folder) / f"part.{suffix}"
                picture.save(path)
                for way, options in WAYS.items():
                    runs.append({"format": suffix, "way": way, **_run(path, options, arguments.threads)})
                    print(*runs[-1].values(), sep=" | ", flush=True)
                path.unlink()
    report = {"machine": {"processor": processor(), "threads": arguments.threads}, "runs": runs}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", default="12,48,100,400")
    parser.add_argument("--formats", default="png,jpg,tif,bmp", help="suffixes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _picture(megapixels: float) -> Image.Image:
    """Four to three."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    width = round(height * 4 / 3)
    canvas = np.empty((height, width, 3), np.uint8)
    seed = 0
    for top in range(0, height, TEXTURE):
        for left in range(0, width, TEXTURE):
            part = generate(seed % 12, TEXTURE, TEXTURE, good=seed % 2 == 0).image
            canvas[top : top + TEXTURE, left : left + TEXTURE] = part[: height - top, : width - left]
            seed += 1
    return Image.fromarray(canvas)


def _run(path: Path, options: list[str], threads: int) -> dict[str, Any]:
    out = path.parent / "out"
    command = ["detect", str(path), "--prompts", ", ".join(DEFECT_NAMES[:5]), "--out", str(out), *options]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN + PEAK, *command],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    (found,) = json.loads((out / "detections.json").read_text())["images"]
    return {
        "width": found["width"],
        "height": found["height"],
        "tiles": found.get("tiles", {"looked_at": 0})["looked_at"],
        "seconds": round(seconds, 1),
        "peak_mib": round(float(done.stdout.rpartition("@")[2])),
    }


if __name__ == "__main__":
    main()
