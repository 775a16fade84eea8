from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rtvp.models.layers import Bottleneck, ConvBlock, SeparableConvBlock


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 4)])
def test_conv_block_is_convolution_norm_and_silu(kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    block = ConvBlock(4, 8, kernel, stride, groups).train()
    features = torch.randn(2, 4, 6, 10)
    convolved = F.conv2d(features, block[0].weight, stride=stride, padding=kernel // 2, groups=groups)
    mean = convolved.mean(dim=(0, 2, 3), keepdim=True)
    variance = convolved.var(dim=(0, 2, 3), keepdim=True, correction=0)
    normed = (convolved - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(block(features), normed * normed.sigmoid(), rtol=1e-4, atol=1e-5)
    assert block(features).shape == (2, 8, 6 // stride, 10 // stride)


def test_separable_block_filters_each_channel_alone_then_mixes() -> None:
    torch.manual_seed(0)
    block = SeparableConvBlock(4, 6).eval()
    features = torch.randn(1, 4, 7, 5)
    changed = features.clone()
    changed[:, 2] += 1
    differs = (block[0](features) - block[0](changed)).abs().amax(dim=(0, 2, 3)) > 0
    assert differs.tolist() == [False, False, True, False]
    assert block(features).shape == (1, 6, 7, 5)
    assert ((block(features) - block(changed)).abs().amax(dim=(0, 2, 3)) > 0).all()


def test_bottleneck_adds_to_its_input() -> None:
    bottleneck = Bottleneck(4)
    torch.nn.init.zeros_(bottleneck.convs[1][1].weight)  # the last norm: the branch is then silent
    features = torch.randn(2, 4, 5, 3)
    assert torch.equal(bottleneck(features), features)
    torch.nn.init.ones_(bottleneck.convs[1][1].weight)
    assert not torch.allclose(bottleneck(features), features, atol=0.1)
