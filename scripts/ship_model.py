"""Put the outcome of a training run into the package: 8-bit weights, hash, and raw logs for the docs.

python scripts/ship_model.py runs/all rtvp-lite0 --data FOLDER_OF_DATA_SETS
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

from rtvp.config import TrainConfig, parse_config
from rtvp.models.build import load_detector, save_detector
from rtvp.models.text_encoder import make_text_encoder
from rtvp.models.weights import SHIPPED_MODELS
from rtvp.train.data import read_run_data
from rtvp.train.validate import validate

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "src" / "rtvp" / "shipped"
RESULTS = ROOT / "docs" / "results"


def main() -> None:
    """Round, measure what came of it, copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder that `rtvp train` wrote")
    parser.add_argument("name", choices=SHIPPED_MODELS)
    parser.add_argument("--data", type=Path, required=True, help="folder of all sets, as in training")
    parser.add_argument("--benchmark", type=Path, help="build of the benchmark, if the run was of a split")
    arguments = parser.parse_args()

    run, checkpoint = arguments.run, SHIPPED / f"{arguments.name}.safetensors"
    content = json.loads((run / "config.json").read_text(encoding="utf-8"))["config"]
    config = parse_config(content, TrainConfig, str(run / "config.json"))
    detector, detector_config, metadata = load_detector(run / "detector.safetensors")
    save_detector(checkpoint, detector, detector_config, metadata, eight_bit=True)

    rounded, _, _ = load_detector(checkpoint)
    data = read_run_data(config, arguments.data, arguments.benchmark)
    figures, threshold = validate(config, data, rounded, make_text_encoder(detector_config.text_encoder))
    metadata |= {"name": arguments.name, "threshold": f"{threshold:.3f}"}
    save_detector(checkpoint, detector, detector_config, metadata, eight_bit=True)
    digest, size = hashlib.sha256(checkpoint.read_bytes()).hexdigest(), checkpoint.stat().st_size
    _write(checkpoint.with_suffix(".json"), {"size": size, "sha256": digest})

    results = RESULTS / arguments.name
    results.mkdir(parents=True, exist_ok=True)
    _write(results / "validation.json", figures)
    for name in ("config.json", "run.json", "expert.csv", "rtvp.csv"):
        if (run / name).exists():  # a run without an expert has no log of one
            shutil.copyfile(run / name, results / name)
    print(f"{checkpoint}: {size / 2**20:.1f} MiB, sha256 {digest}")


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
