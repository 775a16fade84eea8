"""Fixtures that several rooms use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from rtvp.config import DetectorConfig
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Detector
from rtvp.types import DetectorOutput, Floats

STRIDE = 32
SIZE = 256


class ColourNetwork(nn.Module):
    """A detector whose answers are known: prompt k is found where channel k of the picture is bright.

    Each cell of 32 px predicts itself as the box; the score is the sigmoid of (mean of channel k - 128) / 16.
    The visual prompt is the red channel, kept where it is above one half.
    """

    def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
        means = F.avg_pool2d(images, STRIDE)  # [B, 3, rows, columns]
        rows, columns = means.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        corner = torch.stack([x, y], dim=-1).reshape(-1, 2).float() * STRIDE
        boxes = torch.cat([corner, corner + STRIDE], dim=1).expand(len(images), -1, -1)
        channels = means.flatten(2).transpose(1, 2)[:, :, torch.arange(len(text)) % 3]  # [B, A, K]
        red = means[:, :1] / 255
        return DetectorOutput(
            boxes_xyxy=boxes,
            logits=(channels - 128) / 16,
            distance_logits=torch.zeros(len(images), rows * columns, 4, 2),
            anchor_points=corner + STRIDE / 2,
            anchor_strides=torch.full((rows * columns,), float(STRIDE)),
            prompt_scores=(red,),
            prompt_masks=((red > 0.5).float(),),
            prompts=(means,),
        )


class CountingTextEncoder:
    """Text embeddings of no meaning; ``calls`` lists what was encoded."""

    name = "counting"
    version = "1"
    width = 4

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.calls.append(tuple(texts))
        return np.full((len(texts), self.width), self.width**-0.5, np.float32)


@pytest.fixture(scope="session", autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests away from the user's files, and small networks from waiting for threads."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTVP_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def colour_detector() -> Detector:
    """Finds red, green and blue squares, with a threshold of 0.5 and an input of 256 px."""
    config = DetectorConfig(text_width=CountingTextEncoder.width, input_size=SIZE)
    network = TorchNetwork(ColourNetwork())
    return Detector(network, config, CountingTextEncoder(), threshold=0.5, name="colours")


@pytest.fixture
def red_square() -> np.ndarray:
    """1024 x 256 px, half that in the input; black, red in x 128..192, y 64..128: one cell."""
    image = np.zeros((256, 1024, 3), dtype=np.uint8)
    image[64:128, 128:192, 0] = 255
    return image


@pytest.fixture
def folder(tmp_path: Path, red_square: np.ndarray) -> Path:
    """Pictures in two folders, two of one name: a red square, nothing, and a file that is no picture."""
    for name, image in {
        "a/one.png": red_square,
        "b/one.png": red_square * 0,
        "b/two.jpg": red_square,
    }.items():
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "pictures" / name, quality=100, subsampling=0)
    (tmp_path / "pictures" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return tmp_path / "pictures"
