"""Writes small sets of photographs under the names and in the layouts of known sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

BOX = (20, 10, 60, 40)  # px, of 120 x 80


def photograph(seed: int, size: tuple[int, int] = (120, 80)) -> Image.Image:
    """A smooth random picture with texture."""
    rng = np.random.default_rng(seed)
    layout = Image.fromarray(rng.integers(0, 200, (6, 6), dtype=np.uint8)).resize(size)
    texture = Image.fromarray(rng.integers(0, 60, (size[1] // 2, size[0] // 2), dtype=np.uint8)).resize(size)
    pixels = np.asarray(layout, dtype=float) * 0.9 + np.asarray(texture)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def yolo_line(class_id: int, box: tuple[int, int, int, int] = BOX) -> str:
    x1, y1, x2, y2 = box
    return f"{class_id} {(x1 + x2) / 240} {(y1 + y2) / 160} {(x2 - x1) / 120} {(y2 - y1) / 80}\n"


def write_workpiece(root: Path, count: int = 6) -> Path:
    """workpiece-crack: YOLO, labels beside images, one class. Its last image is good."""
    folder = root / "workpiece-crack" / "datasets" / "WorkpieceCrack2"
    images = folder / "train" / "images"
    images.mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [crack]\n")
    for number in range(count):
        photograph(number).save(images / f"part{number}.jpg", quality=95)
        text = yolo_line(0) if number < count - 1 else ""
        (images / f"part{number}.txt").write_text(text)
    return images


def write_fabric(root: Path, count: int = 6) -> Path:
    """fabric-hole: YOLO, two classes with ids from 1; cuts and holes take turns."""
    folder = root / "fabric-hole"
    images, labels = folder / "data" / "train" / "images", folder / "data" / "train" / "labels"
    for new in (images, labels, folder / "config"):
        new.mkdir(parents=True)
    (folder / "config" / "data.yaml").write_text("names: [cut, hole]\n")
    for number in range(count):
        photograph(100 + number).save(images / f"cloth{number}.jpg", quality=95)
        (labels / f"cloth{number}.txt").write_text(yolo_line(1 + number % 2))
    return images
