"""Small detectors and labelled pictures for the figures."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from rtvp.config import DetectorConfig
from rtvp.data.labelled import LabelledSet
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.models.build import build_detector
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Detector
from rtvp.types import Floats

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}
SIZE = 96


class HashTextEncoder:
    """Every text has a direction of its own."""

    name = "hash"
    version = "1"
    width = 8

    def encode(self, texts: Sequence[str]) -> Floats:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.width) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32).reshape(-1, self.width)


def small_rtvp(**changes: object) -> Detector:
    """A seeded RTVP detector with an input of 96 px; keywords change its configuration."""
    values = {
        "text_width": HashTextEncoder.width,
        "channels": 16,
        "distance_bins": 4,
        "interaction": {"heads": 2},
        "input_size": SIZE,
    }
    config = DetectorConfig.model_validate(values | changes)
    torch.manual_seed(0)
    network = build_detector(config).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    # With fresh statistics the answers of its batch norms hardly depend on what they are given.
    with torch.no_grad():
        network(
            torch.rand(4, 3, SIZE, SIZE) * 255, F.normalize(torch.randn(2, HashTextEncoder.width), dim=-1)
        )
    return Detector(TorchNetwork(network), config, HashTextEncoder(), threshold=0.0, name="small")


def squares(
    folder: Path, name: str, labels: Sequence[str], images: int, vocabulary: Sequence[str] | None = None
) -> LabelledSet:
    """A set of grey pictures, 120 x 80 px, each with one square of 24 px per label, in the label's colour."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    records = []
    for number in range(images):
        pixels = generator.integers(110, 140, (80, 120, 3), dtype=np.uint8)
        annotations = []
        for place, label in enumerate(labels):
            x, y = 8 + 40 * place, int(generator.integers(4, 50))
            pixels[y : y + 24, x : x + 24] = COLOURS[label]
            annotations.append(Annotation(label, (float(x), float(y), x + 24.0, y + 24.0)))
        path = folder / name / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        records.append(ImageRecord(path, 120, 80, tuple(annotations), f"{name}/{number}"))
    known = frozenset(labels if vocabulary is None else vocabulary)
    return LabelledSet(name, "squares", "", tuple(records), known)
