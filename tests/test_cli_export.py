"""`rtvp export`, and detection with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtvp.cli import main
from rtvp.export import verify
from rtvp.models.weights import SHIPPED

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    assert main(["samples", str(folder), "--count", "2", "--size", "128"]) == 0
    return folder


def detections(folder: Path) -> list[dict[str, object]]:
    content = json.loads((folder / "detections.json").read_text(encoding="utf-8"))
    return [found for image in content["images"] for found in image["detections"]]


def test_a_verified_file_detects_the_same(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "model.onnx", str(samples / "images")
    assert main(["export", "--out", str(out), "--vocabulary", "scratch, dent", "--size", "128",
                 "--verify", images, "--labels", str(samples / "instances.json")]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "100.00 %" in said
    assert "AP, checkpoint and exported" in said
    assert f"{SHIPPED}, float32, scratch, dent" in said
    common = ["detect", images, "--prompts", "scratch, dent", "--threshold", "0.02"]
    assert main([*common, "--weights", str(out), "--out", str(tmp_path / "exported")]) == 0
    assert main([*common, "--size", "128", "--out", str(tmp_path / "torch")]) == 0
    ours, theirs = detections(tmp_path / "exported"), detections(tmp_path / "torch")
    assert len(ours) == len(theirs) > 0
    assert ours[0]["label"] == theirs[0]["label"]
    assert ours[0]["score"] == pytest.approx(theirs[0]["score"], abs=1e-3)


def test_out_of_tolerance_leaves_no_file(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "SAME_SCORE", -1.0)  # nothing is the same enough
    out = tmp_path / "model.onnx"
    code = main(["export", "--out", str(out), "--size", "64", "--verify", str(samples / "images")])
    assert code == 1
    assert "boxes differ from those of the checkpoint: nothing written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--vocabulary", "a", "--prompts", "b"], "leave out --prompts"),
        (["--labels", "x.json"], "--labels needs --verify FOLDER"),
        (["--format", "openvino"], "expected a file named *.xml"),
        (["--format", "tflite"], "tflite"),
        (["--size", "100"], "multiple of 32"),
        (["--int8", "missing"], "no such file or folder: 'missing'"),
        (["--weights", "missing.safetensors"], "no checkpoint at missing.safetensors"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--out", str(tmp_path / "model.onnx"), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert problem in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_does_not_exist(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["detect", str(samples / "images"), "--prompts", "dent", "--runtime", "tensorrt",
                 "--out", str(tmp_path)])  # fmt: skip
    assert code == 2
    problem = "expected torch, torch-bf16, onnx, openvino, openvino-bf16, got 'tensorrt'"
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["torch", "onnx", "openvino"])
def test_a_bundle_detects_as_its_parts_do(
    samples: Path, tmp_path: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, prompts, bundle = str(samples / "images"), "scratch, dent: hollow", str(tmp_path / "line.zip")
    assert main(["bundle", bundle, "--runtime", runtime, "--prompts", prompts, "--size", "128"]) == 0
    options = ["--threshold", "0.02", "--out"]
    assert main(["detect", images, "--bundle", bundle, *options, str(tmp_path / "bundled")]) == 0
    assert main(["detect", images, "--prompts", prompts, "--size", "128", *options, str(tmp_path / "t")]) == 0
    ours, theirs = detections(tmp_path / "bundled"), detections(tmp_path / "t")
    assert len(ours) == len(theirs) > 0
    assert [found["label"] for found in ours[:3]] == [found["label"] for found in theirs[:3]]
    assert ours[0]["score"] == pytest.approx(theirs[0]["score"], abs=1e-3)


def test_a_bundle_holds_thresholds(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, bundle, line = str(samples / "images"), str(tmp_path / "line.zip"), str(tmp_path / "line.json")
    common = ["--prompts", "scratch", "--size", "64"]
    assert main(["calibrate", images, *common, "--target-false-alarm", "0.9", "--out", line]) == 0
    content = json.loads(Path(line).read_text(encoding="utf-8"))
    threshold = content["thresholds"]["scratch"] / 2  # so that something is found
    Path(line).write_text(json.dumps(content | {"thresholds": {"scratch": threshold}}), encoding="utf-8")
    assert main(["bundle", bundle, *common, "--calibration", line]) == 0
    assert main(["detect", images, "--bundle", bundle, "--out", str(tmp_path / "bundled")]) == 0
    by_hand = ["detect", images, *common, "--calibration", line, "--out", str(tmp_path / "by hand")]
    assert main(by_hand) == 0
    ours, theirs = detections(tmp_path / "bundled"), detections(tmp_path / "by hand")
    assert len(ours) == len(theirs) > 0
    assert all(found["score"] > threshold for found in ours)
    capsys.readouterr()
    other = ["bundle", bundle, "--prompts", "dent", "--size", "64", "--calibration", line]
    assert main(other) == 2
    assert "expected the prompts scratch, got dent" in capsys.readouterr().err
    assert main(["detect", images, "--bundle", bundle, "--weights", "x", "--out", str(tmp_path)]) == 2
    assert "leave out --weights" in capsys.readouterr().err
