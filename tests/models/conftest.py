"""A network small enough to run the whole model in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn

from rtvp.config import DetectorConfig
from rtvp.models.detector import RTVPDetector
from rtvp.models.image_encoder import IMAGE_ENCODERS, ImageEncoder

TEXT_WIDTH = 8


class SmallEncoder(ImageEncoder):
    """A strided convolution a level: maps of strides 4, 8, 16, 32 with 6, 7, 8, 9 channels."""

    def __init__(self) -> None:
        super().__init__((4, 8, 16, 32), (6, 7, 8, 9), (127.0,) * 3, (64.0,) * 3)
        widths = (3, *self.channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[i], widths[i + 1], 3, stride=4 if i == 0 else 2, padding=1),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(),
            )
            for i in range(4)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps, x = [], self.normalise(images)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


@pytest.fixture
def small_encoder(monkeypatch: pytest.MonkeyPatch) -> type[ImageEncoder]:
    """The class above, which configurations of the test may name ``small``."""
    monkeypatch.setitem(IMAGE_ENCODERS, "small", SmallEncoder)
    return SmallEncoder


@pytest.fixture
def small_config() -> Callable[..., DetectorConfig]:
    """The configuration of a small detector; keywords change it."""

    def make(**changes: object) -> DetectorConfig:
        values = {
            "image_encoder": {"name": "small", "frozen": True},
            "text_width": TEXT_WIDTH,
            "channels": 16,
            "distance_bins": 8,
            "interaction": {"heads": 2},
            "input_size": 64,
        }
        return DetectorConfig.model_validate(values | changes)

    return make


@pytest.fixture
def small_detector(
    small_encoder: type[ImageEncoder], small_config: Callable[..., DetectorConfig]
) -> Callable[..., RTVPDetector]:
    """A small detector with seeded random weights and a frozen encoder; keywords change its configuration.

    Its batch norms have seen a few images: with fresh ones its answers hardly depend on what it is given.
    """

    def make(**changes: object) -> RTVPDetector:
        torch.manual_seed(0)
        detector = RTVPDetector(small_encoder(), small_config(**changes))
        norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # one pass is enough
        with torch.no_grad():
            detector(torch.rand(4, 3, 64, 64) * 255, F.normalize(torch.randn(4, TEXT_WIDTH), dim=-1))
        for norm in norms:
            norm.momentum = 0.1
        detector.image_encoder.freeze()
        return detector

    return make


CLIP_WIDTH = 24


def write_tokenizer(folder: Path) -> int:
    """A byte-level vocabulary with two merges; returns its size."""
    characters = sorted(ByteLevel.alphabet())
    entries = [*characters, *(f"{c}</w>" for c in characters), "sc", "ra", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\ns c\nr a\n")
    return len(entries)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP of both halves with random weights, in the layout of the official ones."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    vocabulary = write_tokenizer(folder)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {"vocab_size": vocabulary, "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(
            text_config={**layers, **text, "projection_dim": CLIP_WIDTH},
            vision_config={**layers, "image_size": 32, "patch_size": 16, "projection_dim": CLIP_WIDTH},
            projection_dim=CLIP_WIDTH,
        )
    ).save_pretrained(folder)
    return folder
