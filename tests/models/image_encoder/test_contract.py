"""What every entry of IMAGE_ENCODERS promises."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.image_encoder import IMAGE_ENCODERS, ImageEncoder

NAMES = sorted(IMAGE_ENCODERS)


def make_encoder(name: str) -> ImageEncoder:
    torch.manual_seed(0)
    return IMAGE_ENCODERS[name]()


def make_images(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (128, 128)])
def test_maps_have_the_promised_shapes_and_are_finite(name: str, height: int, width: int) -> None:
    encoder = make_encoder(name).eval()
    with torch.no_grad():
        maps = encoder(make_images(2, height, width))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert all(torch.isfinite(m).all() for m in maps)
    assert list(encoder.strides) == sorted(encoder.strides)


@pytest.mark.parametrize("name", NAMES)
def test_eval_is_deterministic_and_ignores_the_rest_of_the_batch(name: str) -> None:
    encoder = make_encoder(name).eval()
    images = make_images(3, 64, 96)
    with torch.no_grad():
        together, again, alone = encoder(images), encoder(images), encoder(images[1:2])
    for first, second, single in zip(together, again, alone, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first[1:2], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    encoder = make_encoder(name).train()
    maps = encoder(make_images(2, 64, 96))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_frozen_encoder_never_changes(name: str) -> None:
    encoder = make_encoder(name)
    assert encoder.freeze() is encoder
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    parent = nn.ModuleList([encoder, nn.BatchNorm2d(3)]).train()
    assert parent[1].training
    assert not any(module.training for module in encoder.modules())
    maps = encoder(make_images(2, 64, 96))
    assert not any(m.requires_grad for m in maps)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_unfrozen_encoder_follows_its_parent(name: str) -> None:
    parent = nn.ModuleList([make_encoder(name)])
    assert all(module.training for module in parent.train().modules())
    assert not any(module.training for module in parent.eval().modules())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("efficientnet")])
def test_late_blocks_of_a_frozen_encoder_can_learn(name: str) -> None:
    encoder = make_encoder(name)
    assert encoder.freeze().thaw_beyond(8) is encoder
    before = dict(encoder.named_buffers())
    before = {key: value.clone() for key, value in before.items()}
    nn.ModuleList([encoder]).train()
    maps = encoder(make_images(2, 64, 96))
    assert [m.requires_grad for m in maps] == [stride > 8 for stride in encoder.strides]
    sum((m * torch.randn_like(m)).sum() for m in maps if m.requires_grad).backward()
    learning = {key for key, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert learning == {key for key, parameter in encoder.named_parameters() if parameter.grad is not None}
    first = min(int(key.split(".")[1]) for key in learning)
    assert first == encoder.output_blocks[encoder.strides.index(8)] + 1
    assert all(torch.equal(value, before[key]) for key, value in encoder.named_buffers())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("efficientnet")])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_maps_that_learn_follow_from_those_that_do_not(name: str, stride: int) -> None:
    encoder = make_encoder(name).freeze().thaw_beyond(stride)
    assert encoder.fixed_strides == tuple(own for own in encoder.strides if own <= stride)
    maps = encoder(make_images(2, 64, 96))
    fixed = len(encoder.fixed_strides)
    kept = [m.detach() if i < fixed else m.new_zeros(0) for i, m in enumerate(maps)]
    finished = encoder.finish(kept)
    assert len(finished) == len(maps)
    assert all(torch.equal(one, other) for one, other in zip(finished, maps, strict=True))
    assert [m.requires_grad for m in finished] == [own > stride for own in encoder.strides]


@pytest.mark.parametrize("name", NAMES)
def test_maps_of_a_frozen_encoder_are_finished(name: str) -> None:
    encoder = make_encoder(name)
    assert encoder.fixed_strides == ()
    assert encoder.freeze().fixed_strides == encoder.strides
    maps = encoder(make_images(1, 64, 64))
    assert all(one is other for one, other in zip(encoder.finish(maps), maps, strict=True))


def test_depthwise_kernels_learn_the_same_in_bfloat16() -> None:
    encoder = make_encoder("efficientnet_lite0").freeze().thaw_beyond(8)
    images = make_images(2, 64, 96)
    kernel = encoder.blocks[-1].depthwise_conv.weight
    gradients = []
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            maps = encoder(images)
        kernel.grad = None
        maps[-1].float().square().mean().backward()
        gradients.append(F.normalize(kernel.grad.double().flatten(), dim=0, eps=0))
    assert gradients[0] @ gradients[1] > 0.99


@pytest.mark.parametrize(
    ("name", "stride"), [("efficientnet_lite0", 32), ("efficientnet_lite0", 5), ("mobile_sam", 16)]
)
def test_a_cut_without_blocks_behind_it_is_refused(name: str, stride: int) -> None:
    with pytest.raises(RtvpError, match=f"that blocks follow, got {stride}"):
        make_encoder(name).freeze().thaw_beyond(stride)
