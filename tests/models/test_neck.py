from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.models.neck import PathAggregationNeck, TextGuidedBlock

CHANNELS, TEXT_WIDTH = 8, 6


def make_neck(levels: int, text_width: int | None = TEXT_WIDTH) -> PathAggregationNeck:
    torch.manual_seed(0)
    return PathAggregationNeck(levels, CHANNELS, text_width, heads=2).eval()


def make_levels(strides: tuple[int, ...], height: int, width: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, CHANNELS, height // s, width // s) for s in strides]


def make_text(count: int) -> Tensor:
    torch.manual_seed(2)
    return F.normalize(torch.randn(count, TEXT_WIDTH), dim=-1)


@pytest.mark.parametrize("text_width", [TEXT_WIDTH, None])
@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 8, 16, 32), (16,)])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_levels_keep_their_shapes(
    strides: tuple[int, ...], height: int, width: int, text_width: int | None
) -> None:
    levels = make_levels(strides, height, width)
    fused = make_neck(len(strides), text_width)(levels, None if text_width is None else make_text(3))
    assert [level.shape for level in fused] == [level.shape for level in levels]


def test_every_level_hears_of_every_other() -> None:
    neck, text = make_neck(3), make_text(2)
    levels = [level.requires_grad_() for level in make_levels((8, 16, 32), 64, 64)]
    for fused in neck(levels, text):
        gradients = torch.autograd.grad(fused.square().sum(), levels, retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_text_guides_every_level_and_none_without_interaction() -> None:
    levels, first, second = make_levels((8, 16, 32), 64, 64), make_text(3)[:1], make_text(3)[1:]
    guided = make_neck(3)
    assert not any(
        torch.allclose(a, b) for a, b in zip(guided(levels, first), guided(levels, second), strict=True)
    )
    plain = make_neck(3, None)
    assert all(torch.equal(a, b) for a, b in zip(plain(levels, first), plain(levels, None), strict=True))
    assert not [name for name, _ in plain.named_parameters() if "attention" in name]


def test_order_of_prompts_does_not_matter() -> None:
    neck, levels, text = make_neck(3), make_levels((8, 16, 32), 64, 64), make_text(5)
    for a, b in zip(neck(levels, text), neck(levels, text.flip(0)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("text_width", [TEXT_WIDTH, None])
def test_block_changes_the_number_of_channels(text_width: int | None) -> None:
    block = TextGuidedBlock(12, CHANNELS, text_width, heads=2)
    text = None if text_width is None else make_text(2)
    assert block(torch.randn(2, 12, 5, 3), text).shape == (2, CHANNELS, 5, 3)
