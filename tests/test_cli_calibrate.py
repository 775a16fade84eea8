"""`rtvp calibrate` and what `rtvp detect` does with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rtvp.cli import main
from rtvp.config import DetectorConfig
from rtvp.models.build import build_detector
from rtvp.models.text_encoder import make_text_encoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Calibration, Detector

Run = Callable[..., int]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Good parts are dark red, some darker than others; defective ones bright red."""
    rng = np.random.default_rng(0)
    for kind, count, low, high in (("good", 80, 90, 130), ("defective", 60, 150, 200)):
        (tmp_path / kind).mkdir()
        for number, red in enumerate(rng.uniform(low, high, count)):
            image = np.zeros((64, 64, 3), np.uint8)
            image[..., 0] = int(red)
            Image.fromarray(image).save(tmp_path / kind / f"{number}.png")
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, colour_detector: Detector, parts: Path) -> Run:
    monkeypatch.setattr("rtvp.predict.load", lambda weights, device, size, runtime=None: colour_detector)
    monkeypatch.setattr("rtvp.predict.usual_runtime", lambda weights, device: None)
    monkeypatch.chdir(parts)

    def run(*arguments: object) -> int:
        return main([str(each) for each in arguments])

    return run


def test_thresholds_keep_good_parts_silent(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--prompts", "red, green", "--defective", "defective", "--target-false-alarm", 0.05]
    assert run("calibrate", "good", *options, "--out", "c.json", "--plot", "trade.png") == 0
    printed = capsys.readouterr().out
    assert "false alarms of other images: at most 5 %, with confidence 95 %" in printed
    assert "good images found NOT OK here: 0 of 60" in printed
    assert "defective images found OK here: 0 of 60" in printed
    assert Image.open("trade.png").size[0] > 300
    found = Calibration.read(Path("c.json"))
    assert found.thresholds["green"] < 0.01 < 0.4 < found.thresholds["red"] < 0.6
    for kind, most, least in (("good", 4, 0), ("defective", 60, 60)):
        options = ["--prompts", "red, green", "--calibration", "c.json", "--out", f"{kind}-out"]
        assert run("detect", kind, *options) == 0
        content = json.loads(Path(f"{kind}-out/detections.json").read_text())
        refused = sum(entry["verdict"] == "NOT OK" for entry in content["images"])
        assert least <= refused <= most
        assert content["threshold"] == [found.thresholds["red"], found.thresholds["green"]]


def test_a_target_for_misses(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--defective", "defective", "--target-miss", 0.05, "--plot", "trade.svg"]
    assert run("calibrate", "good", "--prompts", "red", *options) == 0
    assert "misses of other images: at most 5 %" in capsys.readouterr().out
    assert Path("rtvp-calibration.json").is_file() and Path("trade.svg").read_text().startswith("<?xml")


def test_warnings(run: Run, capsys: pytest.CaptureFixture[str], colour_detector: Detector) -> None:
    """All texts have one embedding here; the first prompt fires on the reddest of the good parts."""
    colour_detector.threshold = 0.05
    assert run("calibrate", "good", "--prompts", "red, crimson", "--target-false-alarm", 0.05) == 0
    printed = capsys.readouterr().out
    assert (
        "warning: 'red' and 'crimson': the text encoder hardly tells them apart (similarity 1.00)" in printed
    )
    assert "warning: 'red': fires on " in printed and "'crimson': fires" not in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected one of --target-false-alarm and --target-miss"),
        (["--target-miss", "0.1"], "--target-miss needs --defective"),
        (["--target-false-alarm", "0.001"], "80 good images .* at least 2995 are needed; .* is 0.037"),
        (
            ["--target-false-alarm", "0.05", "--plot", "x.doc"],
            "--plot: expected a .png or .svg file, got x.doc",
        ),
        (["--target-false-alarm", "0.05", "--tile", "x"], "tile: expected auto"),
    ],
)
def test_errors(run: Run, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert run("calibrate", "good", "--prompts", "red", *options) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not Path("rtvp-calibration.json").exists()


def test_a_broken_image_stops_it(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("good/zz.png").write_bytes(b"no picture")
    assert run("calibrate", "good", "--prompts", "red", "--target-false-alarm", 0.05) == 2
    assert "zz.png" in capsys.readouterr().err


def test_threshold_and_calibration_exclude_each_other(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("detect", "good", "--prompts", "red", "--calibration", "c.json", "--threshold", 0.2) == 2
    assert "--calibration holds the thresholds: leave out --threshold" in capsys.readouterr().err


def test_thresholds_are_of_the_good_parts_that_were_compared_with(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = DetectorConfig(channels=16, input_size=64)
    network = TorchNetwork(build_detector(config))
    small = Detector(network, config, make_text_encoder("minilm"), digest="ab12")
    monkeypatch.setattr("rtvp.predict.load", lambda weights, device, size, runtime=None: small)
    for folder, name in (("reference", "good/7*.png"), ("other", "good/6*.png")):
        Path(folder).mkdir()
        for path in Path().glob(name):
            path.rename(Path(folder, path.name))
    command = ("calibrate", "good", "--prompts", "red", "--target-false-alarm", 0.1)
    assert run(*command, "--reference", "reference") == 0
    detect = ("detect", "defective", "--prompts", "red", "--calibration", "rtvp-calibration.json")
    assert run(*detect, "--reference", "reference") == 0
    capsys.readouterr()
    for others in ((), ("--reference", "other")):
        assert run(*detect, *others) == 2
        assert "weights" in capsys.readouterr().err


def test_images_to_compare_with_are_no_images_to_calibrate_on(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("calibrate", "good", "--prompts", "red", "--target-false-alarm", 0.05)
    assert run(*command, "--reference", "good/7.png", "--reference", "good/8.png") == 2
    assert re.search(r"other images than those .* got .*7\.png in both", capsys.readouterr().err)


def test_an_exported_model_is_not_compared(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("detect", "defective", "--prompts", "red", "--reference", "good") == 2
    assert "only a checkpoint can be compared with good parts" in capsys.readouterr().err
