from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from rtvp.config import DetectorConfig
from rtvp.models.build import load_detector, save_detector
from rtvp.models.detector import RTVPDetector
from rtvp.models.eight_bit import FEWEST, from_eight_bits, to_eight_bits


def test_a_weight_moves_by_at_most_half_a_level_of_its_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(32, 16, 3, 3, generator=generator) * torch.logspace(-4, 2, 32).view(-1, 1, 1, 1)
    stored = to_eight_bits({"conv.weight": weights})
    assert stored["conv.weight"].dtype == torch.int8 and stored["conv.weight.scale"].shape == (32,)
    restored = from_eight_bits(stored)
    assert restored.keys() == {"conv.weight"}
    largest = weights.abs().amax(dim=(1, 2, 3), keepdim=True)
    assert ((restored["conv.weight"] - weights).abs() <= largest / 253).all()


def test_small_tensors_vectors_and_integers_stay() -> None:
    tensors = {
        "bias": torch.randn(2 * FEWEST),
        "small.weight": torch.randn(3, 4),
        "steps": torch.arange(2 * FEWEST).view(2, -1),
        "log.scale": torch.randn(3),  # a name of a module's own
    }
    stored = to_eight_bits(tensors)
    assert stored.keys() == tensors.keys()
    again = from_eight_bits(stored)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())


def test_a_channel_of_zeros_stays_zero() -> None:
    weights = torch.randn(4, FEWEST)
    weights[2] = 0
    restored = from_eight_bits(to_eight_bits({"w": weights}))["w"]
    assert (restored[2] == 0).all() and restored.isfinite().all()


def test_storing_twice_changes_nothing_more() -> None:
    once = from_eight_bits(to_eight_bits({"w": torch.randn(8, FEWEST)}))
    twice = from_eight_bits(to_eight_bits(once))
    assert torch.allclose(once["w"], twice["w"], rtol=1e-6, atol=0)


def test_a_checkpoint_in_eight_bits_is_smaller_and_finds_the_same(
    tmp_path: Path, small_detector: Callable[..., RTVPDetector], small_config: Callable[..., DetectorConfig]
) -> None:
    detector = small_detector().eval()
    for name, eight_bit in (("half", False), ("eight", True)):
        save_detector(tmp_path / name, detector, small_config(), {"threshold": "0.3"}, eight_bit)
    sizes = {name: (tmp_path / name).stat().st_size for name in ("half", "eight")}
    assert sizes["eight"] < 0.8 * sizes["half"]
    loaded, config, metadata = load_detector(tmp_path / "eight")
    assert config == small_config() and metadata["threshold"] == "0.3"
    images, text = torch.rand(1, 3, 64, 64) * 255, torch.eye(2, 8)
    with torch.no_grad():
        expected, found = detector(images, text), loaded(images, text)
    assert torch.allclose(expected.logits.sigmoid(), found.logits.sigmoid(), atol=0.02)
    assert (expected.boxes_xyxy - found.boxes_xyxy).abs().max() < 2
