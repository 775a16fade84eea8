from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rtvp.config import DetectorConfig
from rtvp.errors import RtvpError
from rtvp.models.build import build_detector, extended, load_detector, save_detector
from rtvp.models.detector import RTVPDetector
from rtvp.models.image_encoder import IMAGE_ENCODERS

Change = Callable[[dict[str, object]], dict[str, object]]


@pytest.fixture
def checkpoint(
    tmp_path: Path, small_detector: Callable[..., RTVPDetector], small_config: Callable[..., DetectorConfig]
) -> Path:
    path = tmp_path / "made" / "small.safetensors"
    save_detector(path, small_detector(), small_config(), {"threshold": "0.25", "name": "small"})
    return path


def read_parts(path: Path) -> tuple[dict[str, object], bytes]:
    """Header and body of a safetensors file."""
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def write_parts(path: Path, header: dict[str, object], body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def change_config(path: Path, text: str) -> None:
    header, body = read_parts(path)
    header["__metadata__"]["config"] = text  # type: ignore[index]
    write_parts(path, header, body)


def outputs(detector: RTVPDetector) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    text = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    with torch.no_grad():
        output = detector(images, text)
    return output.boxes_xyxy, output.logits


def test_contrast_is_added_without_a_change(
    small_detector: Callable[..., RTVPDetector], small_config: Callable[..., DetectorConfig]
) -> None:
    detector, config = small_detector(), small_config()
    wider = extended(detector, config.model_copy(update={"contrast": True})).eval()
    for ours, theirs in zip(outputs(wider), outputs(detector.eval()), strict=True):
        torch.testing.assert_close(ours, theirs)
    # The new weights are at zero, not stuck there.
    text = torch.ones(1, 8)
    wider(torch.rand(1, 3, 64, 64) * 255, text).logits.sum().backward()
    (level, *_) = wider.pyramid.levels
    added = level[0].weight.grad[:, level[0].weight.shape[1] // 2 :]
    assert added.abs().max() > 0


def test_contrast_cannot_be_added_to_every_pyramid() -> None:
    config = DetectorConfig(image_encoder={"name": "mobile_sam"}, channels=16, interaction={"heads": 2})
    with pytest.raises(RtvpError, match="contrast can be added to a LateralFeaturePyramid, not to a Simple"):
        extended(build_detector(config), config.model_copy(update={"contrast": True}))


def test_round_trip(
    checkpoint: Path, small_detector: Callable[..., RTVPDetector], small_config: Callable[..., DetectorConfig]
) -> None:
    detector, config, metadata = load_detector(checkpoint)
    assert config == small_config()
    assert metadata["threshold"] == "0.25"
    assert metadata["name"] == "small"
    assert not detector.training
    assert detector.image_encoder.frozen
    assert all(tensor.dtype == torch.float32 for tensor in detector.parameters())
    for loaded, saved in zip(outputs(detector), outputs(small_detector().eval()), strict=True):
        torch.testing.assert_close(loaded, saved, rtol=2e-2, atol=5e-2)
    assert [file.name for file in checkpoint.parent.iterdir()] == ["small.safetensors"]


def test_saving_what_was_loaded_loses_nothing_more(checkpoint: Path) -> None:
    before, (header, _) = load_file(checkpoint), read_parts(checkpoint)
    detector, config, metadata = load_detector(checkpoint)
    save_detector(checkpoint, detector, config, metadata)
    after = load_file(checkpoint)
    assert read_parts(checkpoint)[0] == header
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_weights_are_stored_in_half_precision_where_it_holds_them(
    tmp_path: Path, small_detector: Callable[..., RTVPDetector], small_config: Callable[..., DetectorConfig]
) -> None:
    detector = small_detector()
    name = "head.box_branches.0.0.1.running_var"
    detector.state_dict()[name].fill_(1e6)  # infinite in float16
    save_detector(tmp_path / "large.safetensors", detector, small_config())
    stored = load_file(tmp_path / "large.safetensors")
    assert {key for key, tensor in stored.items() if tensor.dtype != torch.float16} == {name}
    loaded, _, _ = load_detector(tmp_path / "large.safetensors")
    assert loaded.state_dict()[name].tolist() == [1e6] * 8


def test_a_checkpoint_may_be_read_by_whoever_may_read_other_files(checkpoint: Path) -> None:
    (checkpoint.parent / "other").write_bytes(b"")
    assert checkpoint.stat().st_mode == (checkpoint.parent / "other").stat().st_mode


def test_a_place_that_cannot_be_written_is_an_error(
    checkpoint: Path, small_config: Callable[..., DetectorConfig]
) -> None:
    detector, config, _ = load_detector(checkpoint)
    with pytest.raises(RtvpError, match="cannot write"):
        save_detector(checkpoint / "inside a file", detector, config)


@pytest.mark.parametrize("name", sorted(IMAGE_ENCODERS))
def test_every_image_encoder_builds(name: str) -> None:
    config = DetectorConfig.model_validate({"image_encoder": {"name": name}, "channels": 16})
    detector = build_detector(config)
    assert not [n for n, p in detector.image_encoder.named_parameters() if p.requires_grad]
    melted = config.model_copy(
        update={"image_encoder": config.image_encoder.model_copy(update={"frozen": False})}
    )
    assert all(p.requires_grad for p in build_detector(melted).parameters())


def test_unknown_image_encoder_is_refused(small_config: Callable[..., DetectorConfig]) -> None:
    with pytest.raises(RtvpError, match=r"image_encoder.name: expected one of .*mobile_sam.*, got 'resnet'"):
        build_detector(small_config(image_encoder={"name": "resnet"}))


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(RtvpError, match="no checkpoint at"):
            load_detector(path)


def test_truncated_file_is_refused(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    for length in (0, 1, 7, 8, 9, 500, len(whole) // 2, len(whole) - 1):
        checkpoint.write_bytes(whole[:length])
        with pytest.raises(RtvpError, match=r"small\.safetensors is not a readable safetensors file"):
            load_detector(checkpoint)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), header=st.booleans())
def test_random_bytes_are_refused(tmp_path: Path, body: bytes, header: bool) -> None:
    path = tmp_path / "random.safetensors"
    path.write_bytes((struct.pack("<Q", len(body)) if header else b"") + body)
    with pytest.raises(RtvpError):
        load_detector(path)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_changed_byte_of_the_header_is_an_error_or_harmless(
    checkpoint: Path, position: int, value: int
) -> None:
    whole = bytearray(checkpoint.read_bytes())
    whole[position] = value
    path = checkpoint.with_name("changed.safetensors")
    path.write_bytes(whole)
    try:
        load_detector(path)
    except RtvpError as error:
        assert "\n" not in str(error)


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(RtvpError, match="expected a checkpoint of format rtvp-detector-1, got format none"):
        load_detector(tmp_path / "plain.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "newer.safetensors", metadata={"format": "rtvp-detector-9"})
    with pytest.raises(RtvpError, match="got format rtvp-detector-9"):
        load_detector(tmp_path / "newer.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors", metadata={"format": "rtvp-detector-1"})
    with pytest.raises(RtvpError, match="configuration in the checkpoint is not readable"):
        load_detector(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("text", ["", "{", "5", "null", "[" * 100_000, '{"channels": "16"}', '{"colour": 1}'])
def test_unreadable_configuration_is_refused(checkpoint: Path, text: str) -> None:
    change_config(checkpoint, text)
    with pytest.raises(RtvpError, match="configuration in the checkpoint"):
        load_detector(checkpoint)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 32},
        {"channels": 18},
        {"channels": 10**30},
        {"channels": -16},
        {"text_width": 10**9},
        {"distance_bins": 10**12},
        {"strides": [8, 16]},
        {"strides": []},
        {"head_strides": [16, 8]},
        {"head_strides": [8, 8, 8]},
        {"image_encoder": {"name": "efficientnet_lite0", "frozen": True}},
        {"image_encoder": {"name": "", "frozen": True}},
        {"adaptation": {"enabled": False, "hidden_channels": 64}},
        {"interaction": {"enabled": True, "heads": 3}},
        {"visual_prompt": {"enabled": True, "patch_size": 32, "keep": 0.25, "rounds": 10**9}},
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused(
    checkpoint: Path, changes: dict[str, object]
) -> None:
    header, _ = read_parts(checkpoint)
    config = json.loads(header["__metadata__"]["config"])  # type: ignore[index]
    change_config(checkpoint, json.dumps(config | changes))
    with pytest.raises(RtvpError, match=r"small\.safetensors|image_encoder\.name") as caught:
        load_detector(checkpoint)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_refused_by_name(checkpoint: Path) -> None:
    tensors, (header, _) = load_file(checkpoint), read_parts(checkpoint)
    name = "neck.top_down.0.attention.bias"
    path = checkpoint.with_name("other.safetensors")
    for others in (
        {key: value for key, value in tensors.items() if key != name},
        tensors | {name: torch.zeros(3)},
        tensors | {"neck.more": torch.zeros(3)},
    ):
        save_file(others, path, metadata=header["__metadata__"])  # type: ignore[arg-type]
        with pytest.raises(
            RtvpError, match=r"1 weights do not fit .*first neck\.(top_down\.0\.attention\.bias|more)"
        ):
            load_detector(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(checkpoint: Path, value: float) -> None:
    tensors, (header, _) = load_file(checkpoint), read_parts(checkpoint)
    name = "neck.top_down.0.attention.bias"
    tensors[name][0] = value
    save_file(tensors, checkpoint, metadata=header["__metadata__"])  # type: ignore[arg-type]
    with pytest.raises(RtvpError, match=r"expected finite weights, got NaN or infinity in neck\.top_down\.0"):
        load_detector(checkpoint)
