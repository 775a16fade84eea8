"""TinyViT against the reference implementation, and its reading of official files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.image_encoder import TinyViT, load_mobile_sam

State = dict[str, Tensor]


@pytest.fixture
def reference_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The reference's TinyViT source, with stand-ins for the timm helpers it imports.

    It is loaded on its own: the rest of the package needs torchvision.
    """
    package = importlib.util.find_spec("mobile_sam")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the reference implementation is not installed: pip install mobilesam-mirror")
    layers, registry = ModuleType("timm.models.layers"), ModuleType("timm.models.registry")
    layers.DropPath = nn.Identity  # type: ignore[attr-defined]
    layers.to_2tuple = lambda size: size if isinstance(size, tuple) else (size, size)  # type: ignore[attr-defined]
    layers.trunc_normal_ = nn.init.trunc_normal_  # type: ignore[attr-defined]
    registry.register_model = lambda function: function  # type: ignore[attr-defined]
    for stub in (ModuleType("timm"), ModuleType("timm.models"), layers, registry):
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    source = Path(package.submodule_search_locations[0]) / "modeling" / "tiny_vit_sam.py"
    spec = importlib.util.spec_from_file_location("reference_tiny_vit", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomise(module: nn.Module) -> None:
    """Every weight, statistic and bias away from its initial value, so that each of them matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif name.endswith("attention_biases"):
                value.copy_(2 * noise)
            elif value.ndim > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            elif name.endswith("weight"):
                value.copy_(1 + 0.2 * noise)
            else:
                value.copy_(0.3 * noise)


def make_reference(module: ModuleType, size: tuple[int, int]) -> Any:
    """Mobile-SAM's TinyViT for images of (height, width), with random weights."""
    reference = module.TinyViT(
        img_size=size,
        embed_dims=[64, 128, 160, 320],
        depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7],
        drop_path_rate=0.0,
    )
    randomise(reference)
    return reference.eval()


def official_file(reference: nn.Module, path: Path) -> Path:
    """A file in the layout of mobile_sam.pt."""
    state: State = {f"image_encoder.{name}": value for name, value in reference.state_dict().items()}
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 256)
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)
    torch.save(state, path)
    return path


def make_images(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


def standardise(images: Tensor) -> Tensor:
    mean, deviation = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)


def test_equals_the_reference_at_its_own_size(reference_module: ModuleType, tmp_path: Path) -> None:
    reference = make_reference(reference_module, (1024, 1024))
    encoder = TinyViT()
    load_mobile_sam(encoder, official_file(reference, tmp_path / "mobile_sam.pt"))
    images = make_images(1024, 1024)
    with torch.inference_mode():
        (features,) = encoder.freeze()(images)
        expected = reference(standardise(images))
    assert features.shape == (1, 256, 64, 64)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)


# 640: windows of 7 and 14 need padding on every stage; 224: none does; 64 x 96: maps smaller than one window.
@pytest.mark.parametrize(("height", "width"), [(640, 640), (224, 224), (64, 96), (160, 224)])
def test_equals_the_reference_at_other_sizes(
    reference_module: ModuleType, tmp_path: Path, height: int, width: int
) -> None:
    reference = make_reference(reference_module, (height, width))
    encoder = TinyViT()
    load_mobile_sam(encoder, official_file(reference, tmp_path / "mobile_sam.pt"))
    images = make_images(height, width)
    with torch.inference_mode():
        (features,) = encoder.freeze()(images)
        # The reference's own forward ends in a fixed 64 x 64 grid, so its parts are run one by one.
        tokens = reference.patch_embed(standardise(images))
        for layer in reference.layers:
            tokens = layer(tokens)
        expected = reference.neck(tokens.transpose(1, 2).unflatten(2, (height // 16, width // 16)))
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)


def test_every_weight_changes_the_features() -> None:
    encoder = TinyViT()
    randomise(encoder)
    encoder.eval()
    (features,) = encoder(make_images(64, 96))
    (features * torch.randn_like(features)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_attention_bias_is_never_stale() -> None:
    """Weights loaded in eval mode count at once."""
    encoder = TinyViT().freeze()
    before = encoder(make_images(64, 96))[0]
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    state["layers.1.blocks.0.attn.attention_biases"][:, 0] = 9  # every cell looks at itself
    encoder.load_state_dict(state)
    assert not torch.allclose(before, encoder(make_images(64, 96))[0])


def official_state() -> State:
    return {f"image_encoder.{name}": value.clone() for name, value in TinyViT().state_dict().items()}


def without_one(state: State) -> State:
    del state["image_encoder.neck.2.weight"]
    return state


def with_another_shape(state: State) -> State:
    state["image_encoder.neck.2.weight"] = torch.zeros(256, 256, 1, 1)
    return state


def with_a_stranger(state: State) -> State:
    state["image_encoder.pos_embed"] = torch.zeros(1)
    return state


def without_prefix(state: State) -> State:
    return {name.removeprefix("image_encoder."): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_one, r"neck\.2\.weight is missing"),
        (with_another_shape, r"neck\.2\.weight has shape \(256, 256, 1, 1\), expected \(256, 256, 3, 3\)"),
        (with_a_stranger, r"pos_embed is unknown"),
        (without_prefix, r"expected Mobile-SAM's mobile_sam\.pt .* found none"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    tmp_path: Path, spoil: Callable[[State], State], message: str
) -> None:
    path = tmp_path / "mobile_sam.pt"
    torch.save(spoil(official_state()), path)
    encoder = TinyViT()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(RtvpError, match=message) as caught:
        load_mobile_sam(encoder, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_classifier_and_index_tables_are_left_out(tmp_path: Path) -> None:
    state = official_state()
    state["image_encoder.norm_head.weight"] = torch.zeros(320)
    state["image_encoder.head.bias"] = torch.zeros(1000)
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.long)
    path = tmp_path / "mobile_sam.pt"
    torch.save(state, path)
    encoder = TinyViT()
    load_mobile_sam(encoder, path)
    assert all(
        torch.equal(value, state[f"image_encoder.{name}"]) for name, value in encoder.state_dict().items()
    )
