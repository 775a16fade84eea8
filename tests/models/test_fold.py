from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rtvp.config import DetectorConfig, ImageEncoderConfig
from rtvp.models.build import build_detector
from rtvp.models.fold import fold_batch_norms
from rtvp.models.image_encoder import IMAGE_ENCODERS


def shaken(network: nn.Module) -> nn.Module:
    """Batch statistics and weights as after some training, so that folding them wrongly shows."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                values.data.copy_(torch.rand(values.shape, generator=generator) + low)
            module.running_mean.copy_(torch.rand(module.running_mean.shape, generator=generator) - 0.5)
    return network.eval()


@pytest.mark.parametrize("encoder", sorted(IMAGE_ENCODERS))
def test_the_detector_computes_the_same_without_batch_norms(encoder: str) -> None:
    torch.manual_seed(0)
    config = DetectorConfig(image_encoder=ImageEncoderConfig(name=encoder), text_width=16, channels=16)
    detector = shaken(build_detector(config))
    images = torch.rand(1, 3, 96, 64) * 255
    text = F.normalize(torch.randn(3, 16), dim=-1)
    with torch.inference_mode():
        before = detector(images, text)
        fold_batch_norms(detector)
        after = detector(images, text)
    assert not [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(after.logits, before.logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(after.boxes_xyxy, before.boxes_xyxy, atol=1e-2, rtol=1e-3)


def test_a_batch_norm_without_a_convolution_stays() -> None:
    network = shaken(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    images = torch.rand(2, 3, 5, 5)
    before = network(images)
    fold_batch_norms(network)
    torch.testing.assert_close(network(images), before)
    assert isinstance(network[2], nn.BatchNorm2d)
