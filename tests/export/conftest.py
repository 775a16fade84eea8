"""Small detectors, their checkpoints and pictures to try them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rtvp.config import DetectorConfig
from rtvp.models.build import build_detector, save_detector
from rtvp.models.image_encoder import IMAGE_ENCODERS, ImageEncoder

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


class TinyEncoder(ImageEncoder):
    """Maps of strides 8, 16, 32 with 8 channels each."""

    def __init__(self) -> None:
        super().__init__((8, 16, 32), (8, 8, 8), (120.0, 110.0, 100.0), (50.0, 60.0, 70.0))
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(8 if stride == 2 else 3, 8, kernel_size=3, stride=stride, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
            )
            for stride in (8, 2, 2)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [self.normalise(images)]
        for step in self.steps:
            maps.append(step(maps[-1]))
        return tuple(maps[1:])


@pytest.fixture(scope="session", autouse=True)
def _tiny_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(IMAGE_ENCODERS, "tiny", TinyEncoder)
        yield


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A checkpoint of a tiny detector with random weights; keywords change its configuration."""

    def make(**changes: object) -> Path:
        values = {
            "image_encoder": {"name": "tiny", "frozen": False},
            "channels": 16,
            "distance_bins": 8,
            "input_size": 64,
        }
        config = DetectorConfig.model_validate(values | changes)
        torch.manual_seed(0)
        detector = build_detector(config)
        # What a fresh network finds hardly depends on the picture: let the norms see some, and score higher.
        norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            detector(torch.rand(8, 3, 64, 64) * 255, nn.functional.normalize(torch.randn(4, 384), dim=-1))
            for classifier in detector.head.classifiers:
                classifier.bias.fill_(-1.0)
            if detector.presence is not None:
                detector.presence.weight.copy_(torch.tensor([0.9, 0.3, 0.8]))
                detector.presence.bias.fill_(0.5)
        path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
        save_detector(
            path, detector.eval(), config, {"name": "tiny", "threshold": "0.3", "licence": "CC0-1.0"}
        )
        return path

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four pictures of different shapes: bright shapes on noise."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for index, (height, width) in enumerate([(64, 96), (100, 80), (128, 128), (64, 64)]):
        image = generator.integers(0, 120, (height, width, 3), dtype=np.uint8)
        image[10 : 30 + 5 * index, 20:50] = generator.integers(100, 255, 3)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder
