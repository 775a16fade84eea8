from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.models.cross_modal_attention import MaxSigmoidAttention

CHANNELS, TEXT_WIDTH = 8, 6


def make_attention(heads: int = 2) -> MaxSigmoidAttention:
    torch.manual_seed(0)
    attention = MaxSigmoidAttention(CHANNELS, TEXT_WIDTH, heads)
    torch.nn.init.normal_(attention.bias)
    return attention


def make_text(count: int) -> Tensor:
    return F.normalize(torch.randn(count, TEXT_WIDTH, generator=torch.Generator().manual_seed(1)), dim=-1)


def make_feature(height: int = 3, width: int = 5) -> Tensor:
    return torch.randn(2, CHANNELS, height, width, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("prompts", [1, 3])
def test_parity_with_loops(heads: int, prompts: int) -> None:
    attention, feature, text = make_attention(heads), make_feature(), make_text(prompts)
    slices = CHANNELS // heads
    result = attention(feature, text)
    for b in range(2):
        for y in range(3):
            for x in range(5):
                cell = feature[b, :, y, x]
                query = attention.embed.weight[:, :, 0, 0] @ cell + attention.embed.bias
                for h in range(heads):
                    of_head = slice(h * slices, (h + 1) * slices)
                    matches = [
                        float(query[of_head] @ (attention.guide.weight @ t + attention.guide.bias)[of_head])
                        for t in text
                    ]
                    logit = max(matches) / math.sqrt(slices) + float(attention.bias[h])
                    expected = cell[of_head] / (1 + math.exp(-logit))
                    torch.testing.assert_close(result[b, of_head, y, x], expected, rtol=1e-4, atol=1e-5)


def test_order_and_repetition_of_prompts_do_not_matter() -> None:
    attention, feature, text = make_attention(), make_feature(), make_text(7)
    weight = attention.attention(feature, text)
    torch.testing.assert_close(attention.attention(feature, text[torch.randperm(7)]), weight)
    torch.testing.assert_close(attention.attention(feature, torch.cat([text, text[2:4]])), weight)


def test_one_more_prompt_never_lowers_the_weight() -> None:
    attention, feature, text = make_attention(), make_feature(), make_text(20)
    weights = torch.stack([attention.attention(feature, text[:count]) for count in range(1, 21)])
    assert (weights.diff(dim=0) >= -1e-6).all()
    assert (weights[-1] > weights[0] + 1e-3).any()
    assert weights.min() > 0
    assert weights.max() < 1


def test_channels_last_and_single_cells_give_the_same() -> None:
    for size in ((3, 5), (1, 1), (1, 4)):
        attention, feature, text = make_attention(), make_feature(*size), make_text(2)
        other = attention(feature.contiguous(memory_format=torch.channels_last), text)
        torch.testing.assert_close(other, attention(feature, text))


def test_channels_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"channels \(8\) must be divisible by heads \(3\)"):
        MaxSigmoidAttention(8, 6, 3)
