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


def test_coarse_to_fine_then_fine_to_coarse() -> None:
    neck, text = make_neck(3), make_text(2)
    fine, middle, coarse = make_levels((8, 16, 32), 64, 96)

    def doubled(level: Tensor) -> Tensor:
        return level.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    middle_down = neck.top_down[0](torch.cat([doubled(coarse), middle], dim=1), text)
    fine_up = neck.top_down[1](torch.cat([doubled(middle_down), fine], dim=1), text)
    middle_up = neck.bottom_up[0](torch.cat([neck.downsample[0](fine_up), middle_down], dim=1), text)
    coarse_up = neck.bottom_up[1](torch.cat([neck.downsample[1](middle_up), coarse], dim=1), text)
    for fused, expected in zip(
        neck((fine, middle, coarse), text), (fine_up, middle_up, coarse_up), strict=True
    ):
        torch.testing.assert_close(fused, expected)


def test_a_block_merges_its_halves_the_bottleneck_and_what_the_text_weighs() -> None:
    block, text = make_neck(2).top_down[0], make_text(2)
    feature = torch.randn(1, 2 * CHANNELS, 4, 4)
    halves = block.split(feature)
    deep = block.bottleneck(halves[:, CHANNELS // 2 :])
    expected = block.merge(torch.cat([halves, deep, block.attention(deep, text)], dim=1))
    torch.testing.assert_close(block(feature, text), expected)


def test_order_of_prompts_does_not_matter() -> None:
    neck, levels, text = make_neck(3), make_levels((8, 16, 32), 64, 64), make_text(5)
    for a, b in zip(neck(levels, text), neck(levels, text.flip(0)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("text_width", [TEXT_WIDTH, None])
def test_block_changes_the_number_of_channels(text_width: int | None) -> None:
    block = TextGuidedBlock(12, CHANNELS, text_width, heads=2)
    text = None if text_width is None else make_text(2)
    assert block(torch.randn(2, 12, 5, 3), text).shape == (2, CHANNELS, 5, 3)
