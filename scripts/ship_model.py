"""Put the outcome of a training run into the package: checkpoint, hash, and the raw logs for the docs.

python scripts/ship_model.py runs/continued
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from rtvp.models.build import load_detector

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "src" / "rtvp" / "shipped" / "rtvp-lite0.safetensors"
RESULTS = ROOT / "docs" / "results" / "rtvp-lite0"
MAX_BYTES = 12 * 2**20


def main() -> None:
    """Check the checkpoint, then copy."""
    run = Path(sys.argv[1])
    checkpoint = run / "detector.safetensors"
    load_detector(checkpoint)
    size = checkpoint.stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"error: {checkpoint} has {size} bytes, the package takes up to {MAX_BYTES}")
    SHIPPED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(checkpoint, SHIPPED)
    facts = {"size": size, "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}
    SHIPPED.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "expert.csv", "rtvp.csv", "validation.json"):
        if (run / name).exists():  # a run without an expert has no log of one
            shutil.copyfile(run / name, RESULTS / name)
    print(f"{SHIPPED}: {size / 2**20:.1f} MiB, sha256 {facts['sha256']}")


if __name__ == "__main__":
    main()
