from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rtvp.models.expert import Expert
from rtvp.models.image_encoder import ImageEncoder


def make_expert(
    encoder: ImageEncoder, strides: tuple[int, ...] = (8, 16, 32), head: tuple[int, ...] = (8, 16)
) -> Expert:
    torch.manual_seed(0)
    return Expert(encoder, classes=5, channels=16, strides=strides, head_strides=head, bins=8)


def make_images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize(("strides", "head"), [((8, 16, 32), (8, 16, 32)), ((4, 8, 16), (8, 16))])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
def test_shapes(
    small_encoder: type[ImageEncoder],
    strides: tuple[int, ...],
    head: tuple[int, ...],
    height: int,
    width: int,
) -> None:
    output = make_expert(small_encoder(), strides, head).eval()(make_images(height, width))
    assert [f.shape for f in output.features] == [(2, 16, height // s, width // s) for s in strides]
    cells = sum((height // s) * (width // s) for s in head)
    assert output.detections.boxes_xyxy.shape == (2, cells, 4)
    assert output.detections.logits.shape == (2, cells, 5)
    assert output.detections.prompts == ()


def test_detections_come_from_the_features_of_the_head_levels(small_encoder: type[ImageEncoder]) -> None:
    expert = make_expert(small_encoder()).eval()
    output = expert(make_images(64, 64))
    head = expert.head(output.features[:2], None)
    assert torch.equal(head.logits, output.detections.logits)
    assert torch.equal(head.boxes_xyxy, output.detections.boxes_xyxy)


@pytest.mark.parametrize("frozen", [True, False])
def test_its_own_detections_teach_the_expert(small_encoder: type[ImageEncoder], frozen: bool) -> None:
    """A shared encoder is frozen: the rest goes on learning."""
    encoder = small_encoder().freeze() if frozen else small_encoder()
    expert = make_expert(encoder, head=(8, 16, 32)).train()
    detections = expert(make_images(64, 64)).detections
    torch.manual_seed(2)
    loss = (detections.logits * torch.randn_like(detections.logits)).sum()
    (loss + (detections.boxes_xyxy * torch.randn_like(detections.boxes_xyxy)).sum()).backward()
    for name, parameter in expert.named_parameters():
        if frozen and name.startswith("image_encoder."):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
