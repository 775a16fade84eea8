"""Two small sets of the table of sources, in their own layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image


def write_sets(root: Path, images: int = 12) -> Path:
    """gear-fault, two images of which are good, and garment-dirt; one small box an image."""
    gear = {f"g{i}": "0 0.5 0.5 0.25 0.25\n" if i > 1 else "1 0.5 0.5 1 1\n" for i in range(images)}
    _write(root / "gear-fault", "train", ["Fault-Exist", "No Fault"], gear, seed=1)
    dirt = {f"d{i}": "0 0.5 0.5 0.25 0.25\n" for i in range(images)}
    _write(root / "garment-dirt/DatasetUsed", "train", ["Dirty_mark"], dirt, seed=2)
    return root


def _write(folder: Path, part: str, names: list[str], labels: dict[str, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for kind in ("images", "labels"):
        (folder / part / kind).mkdir(parents=True)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": names}))
    for name, lines in labels.items():
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC)
        picture.save(folder / part / "images" / f"{name}.png")
        (folder / part / "labels" / f"{name}.txt").write_text(lines)
