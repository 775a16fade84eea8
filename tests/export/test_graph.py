"""The exported graph against the detector that it was traced from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtvp.config import DetectorConfig
from rtvp.export.checkpoint import embed, export_checkpoint, read_checkpoint
from rtvp.models.build import load_detector
from rtvp.models.runtimes import ExportedNetwork, open_exported
from rtvp.models.torch_network import TorchNetwork
from rtvp.types import Floats, Predictions, Prompt

WITHOUT_PROMPT = {"visual_prompt": {"enabled": False}, "adaptation": {"enabled": False}}
CONTRAST = {"contrast": True, "presence": True, "visual_prompt": {"rounds": 2, "patch_size": 64}}
TWO_OF_THREE = {"head_strides": [8, 16], "interaction": {"enabled": False}}
CONFIGS = {
    "default": {},
    "without prompt": WITHOUT_PROMPT,
    "contrast and presence": CONTRAST,
    "fewer levels": TWO_OF_THREE,
}
RUNTIMES = ("onnx", "openvino")  # that compute in float32
FORMATS = {"onnx": "model.onnx", "openvino": "model.xml"}


def an_input(batch: int, height: int, width: int, prompts: int) -> tuple[NDArray[np.uint8], Floats]:
    random = np.random.default_rng(batch * height + prompts)
    text = random.standard_normal((prompts, 384), np.float32)
    images = random.integers(0, 256, (batch, 3, height, width), np.uint8)
    return images, text / np.linalg.norm(text, axis=1, keepdims=True)


def read_network(checkpoint: Path) -> TorchNetwork:
    return TorchNetwork(load_detector(checkpoint)[0])


def assert_same(found: Predictions, expected: Predictions, px: float = 1e-2) -> None:
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=px, rtol=1e-4)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
    assert (found.presence_logits is None) == (expected.presence_logits is None)
    if expected.presence_logits is not None:
        np.testing.assert_allclose(found.presence_logits, expected.presence_logits, atol=1e-4, rtol=1e-4)
    assert len(found.prompt_scores) == len(expected.prompt_scores)
    for ours, theirs in zip(found.prompt_scores, expected.prompt_scores, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(found.prompt_masks, expected.prompt_masks, strict=True):
        # Which of two equal scores is kept is a matter of rounding; a mask of ours has few of those.
        assert (ours != theirs).mean() < 0.01


@pytest.fixture(scope="module", params=CONFIGS)
def exported(
    request: pytest.FixtureRequest,
    make_checkpoint: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TorchNetwork, dict[str, ExportedNetwork]]:
    checkpoint = make_checkpoint(**CONFIGS[request.param])
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_checkpoint(checkpoint, path, "onnx")
    return read_network(checkpoint), {runtime: open_exported(path, runtime) for runtime in RUNTIMES}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_batch_size_and_prompts_are_free(
    exported: tuple[TorchNetwork, dict[str, ExportedNetwork]], runtime: str
) -> None:
    detector, networks = exported
    for shape in [(1, 64, 96, 1), (3, 64, 96, 5), (1, 128, 128, 5), (3, 128, 128, 1), (1, 32, 32, 2)]:
        images, text = an_input(*shape)
        assert_same(networks[runtime](images, text), detector(images, text))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_answer_to_one_image_does_not_change_with_the_next(
    exported: tuple[TorchNetwork, dict[str, ExportedNetwork]], runtime: str
) -> None:
    images, text = an_input(2, 64, 64, 3)
    network = exported[1][runtime]
    first = network(images[:1], text)
    kept = first.logits.copy()
    network(images[1:], text)
    assert np.array_equal(first.logits, kept)


def test_bfloat16_is_near_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    export_checkpoint(checkpoint, tmp_path / "model.xml", "openvino")
    exact, half = (open_exported(tmp_path / "model.xml", name) for name in ("openvino", "openvino-bf16"))
    images, text = an_input(2, 96, 64, 3)
    np.testing.assert_allclose(half(images, text).logits, exact(images, text).logits, atol=0.3, rtol=0.05)
    # A calibration of one is not taken for one of the other.
    assert half.facts.digest == f"{exact.facts.digest} bfloat16"


@pytest.mark.parametrize("format", FORMATS)
def test_a_vocabulary_is_built_in(checkpoint: Path, tmp_path: Path, format: str) -> None:
    prompts = (Prompt("scratch"), Prompt("oil stain", ("dark smear",)), Prompt("dent"))
    facts = export_checkpoint(checkpoint, tmp_path / FORMATS[format], format, vocabulary=prompts)
    assert facts.prompts == prompts
    detector, config, _ = read_checkpoint(checkpoint)
    text = embed(prompts, config)
    network = open_exported(tmp_path / FORMATS[format])
    images, _ = an_input(2, 96, 64, 1)
    expected = TorchNetwork(detector)(images, text.numpy()).logits
    rows = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(network(images, rows).logits, expected, atol=1e-4, rtol=1e-4)
    # Rows of the identity pick prompts, in any order.
    two = network(images, rows[[2, 0]]).logits
    np.testing.assert_allclose(two, expected[:, :, [2, 0]], atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["mobile_sam", "efficientnet_lite2"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_image_encoder_can_be_exported(
    make_checkpoint: Callable[..., Path], tmp_path: Path, encoder: str, format: str
) -> None:
    checkpoint = make_checkpoint(image_encoder={"name": encoder})
    export_checkpoint(checkpoint, tmp_path / FORMATS[format], format)
    detector, network = read_network(checkpoint), open_exported(tmp_path / FORMATS[format])
    for shape in [(1, 64, 96, 1), (2, 256, 160, 3)]:
        images, text = an_input(*shape)
        # Rounding adds up over many layers of random weights.
        assert_same(network(images, text), detector(images, text), px=5e-2)


def test_the_tiny_detector_is_no_trivial_one(checkpoint: Path) -> None:
    """Else the parity above would say nothing."""
    detector, config, _ = load_detector(checkpoint)
    assert config == DetectorConfig.model_validate(config.model_dump())
    images, text = an_input(2, 64, 96, 3)
    network = TorchNetwork(detector)
    output, other = network(images, text), network(images, text[[1, 2, 0]])
    assert output.logits.std() > 0.1
    assert not np.allclose(output.logits[0], output.logits[1], atol=1e-2)
    assert not np.allclose(output.logits, other.logits, atol=1e-2)
