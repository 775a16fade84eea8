"""8-bit files: smaller, near, and honest about what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from rtvp.errors import RtvpError
from rtvp.export.checkpoint import export_checkpoint
from rtvp.export.quantise import calibration_inputs
from rtvp.models.build import load_detector
from rtvp.models.runtimes import open_exported
from rtvp.models.torch_network import TorchNetwork
from rtvp.types import Prompt

PROMPTS = (Prompt("scratch"), Prompt("dent"))


@pytest.mark.parametrize("name", ["m.onnx", "m.xml"])
def test_int8_stays_near(checkpoint: Path, pictures: Path, tmp_path: Path, name: str) -> None:
    format = "onnx" if name == "m.onnx" else "openvino"
    images = sorted(pictures.iterdir())
    facts = export_checkpoint(
        checkpoint,
        tmp_path / name,
        format,
        vocabulary=PROMPTS,
        calibration=images,  # type: ignore[arg-type]
    )
    assert facts.precision == "int8"
    from rtvp.export.checkpoint import embed

    detector, config, _ = load_detector(checkpoint)
    network = open_exported(tmp_path / name)
    assert network.facts == facts
    text = embed(PROMPTS, config)
    for inputs in calibration_inputs(images, facts, None):
        pixels = inputs["images"].astype(np.uint8)
        expected = TorchNetwork(detector)(pixels, text.numpy())
        found = network(pixels, np.eye(2, dtype=np.float32))
        assert not np.array_equal(found.logits, expected.logits)
        assert np.abs(found.logits - expected.logits).mean() < 0.25 * expected.logits.std()
        assert np.abs(found.boxes_xyxy - expected.boxes_xyxy).mean() < 2


def test_what_is_sensitive_stays_in_float(checkpoint: Path, pictures: Path, tmp_path: Path) -> None:
    images = sorted(pictures.iterdir())
    export_checkpoint(checkpoint, tmp_path / "m.onnx", "onnx", calibration=images, asked=PROMPTS)
    model = onnx.load(tmp_path / "m.onnx")
    makers = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    eight_bit = {
        node.name
        for node in convolutions
        if node.input[0] in makers and makers[node.input[0]].op_type == "DequantizeLinear"
    }
    assert len(eight_bit) > len(convolutions) / 2
    in_float = [node.name for node in convolutions if node.name not in eight_bit]
    assert sum("/refiner/" in name for name in in_float) == sum("/refiner/" in n.name for n in convolutions)
    assert sum("/box_branches" in name and name.endswith(".2/Conv") for name in in_float) == 3  # of 3 levels


def test_images_go_through_one_at_a_time(checkpoint: Path, pictures: Path) -> None:
    from rtvp.export.checkpoint import read_checkpoint

    _, _, facts = read_checkpoint(checkpoint)
    images = [pictures / "0.png", pictures / "missing.png"]
    inputs = calibration_inputs(images, facts, torch.ones(2, 384))
    first = next(inputs)  # the second has not been looked for yet
    assert first["images"].shape == (1, 3, 64, 64) or first["images"].shape[2] % 32 == 0
    assert first["images"].dtype == np.float32
    assert first["text"].shape == (2, 384)
    with pytest.raises(RtvpError, match=r"missing\.png"):
        next(inputs)


def test_a_broken_image_leaves_no_file(checkpoint: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = [pictures / "0.png", tmp_path / "broken.png"]
    with pytest.raises(RtvpError, match=r"broken\.png"):
        export_checkpoint(checkpoint, tmp_path / "m.onnx", "onnx", calibration=images, asked=PROMPTS)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]
