from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.detector import RTVPDetector
from rtvp.models.network import Network
from rtvp.models.torch_network import TorchNetwork, to_tensor
from rtvp.types import DetectorOutput

TEXT = np.eye(8, dtype=np.float32)[:3]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), np.uint8)


def test_it_says_what_its_module_says(
    small_detector: Callable[..., RTVPDetector], images: np.ndarray
) -> None:
    module = small_detector().train()
    network: Network = TorchNetwork(module)
    assert network.device == "cpu" and not module.training
    found = network(images, TEXT)
    with torch.no_grad():
        expected = module(torch.from_numpy(images).float(), torch.from_numpy(TEXT))
    np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert (found.presence_logits is None) == (expected.presence_logits is None)
    for ours, theirs in (
        (found.prompt_scores, expected.prompt_scores),
        (found.prompt_masks, expected.prompt_masks),
    ):
        assert len(ours) == len(theirs) == 3
        for own, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(own, other)


def test_half_is_near_and_answers_in_float32(
    small_detector: Callable[..., RTVPDetector], images: np.ndarray
) -> None:
    module = small_detector()
    whole, half = TorchNetwork(module)(images, TEXT), TorchNetwork(module, half=True)(images, TEXT)
    assert half.logits.dtype == half.boxes_xyxy.dtype == np.float32
    assert not np.array_equal(half.logits, whole.logits)
    for ours, theirs in zip(half.prompt_scores, whole.prompt_scores, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.05)  # before any cell is chosen by rank


def test_too_little_memory_is_told(images: np.ndarray) -> None:
    class Hungry(nn.Module):
        def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
            raise torch.OutOfMemoryError

    with pytest.raises(RtvpError, match="the GPU has too little memory: take a smaller batch or size"):
        TorchNetwork(Hungry())(images, TEXT)


def test_bytes_become_floats() -> None:
    tensor = to_tensor(np.array([[[[0, 255]]]], np.uint8))
    assert tensor.dtype == torch.float32 and tensor.flatten().tolist() == [0.0, 255.0]
