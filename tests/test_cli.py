"""The command line, as a person and as a script meet it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rtvp
from rtvp.cli import main
from rtvp.config import DetectorConfig
from rtvp.errors import RtvpError
from rtvp.mmio.rle import parse_counts
from rtvp.models.build import build_detector, save_detector
from rtvp.predict import Detector

CONFIG = DetectorConfig(channels=16, input_size=64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_detector(path, build_detector(CONFIG), CONFIG)
    return path


@pytest.fixture
def detect(
    monkeypatch: pytest.MonkeyPatch, colour_detector: Detector, tmp_path: Path
) -> Callable[..., tuple[int, Path]]:
    """``rtvp detect`` with the detector of known answers, into ``tmp_path / out``: exit code and folder."""
    monkeypatch.setattr("rtvp.predict.load", lambda weights, device, size, runtime: colour_detector)
    monkeypatch.setattr("rtvp.predict.usual_runtime", lambda weights, device: None)

    def run(*arguments: object) -> tuple[int, Path]:
        return main(["detect", *map(str, arguments), "--out", str(tmp_path / "out")]), tmp_path / "out"

    return run


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", captured.err), captured.err
    return captured.err


# ---- what it does


def test_detect(
    detect: Callable[..., tuple[int, Path]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = detect(folder / "a" / "one.png", folder / "b", "--prompts", "red, green", "--explain")
    captured = capsys.readouterr()
    assert code == 0
    assert captured.err == ""
    assert re.search(r"^ *red\b.* 2\b", captured.out, re.MULTILINE)
    assert re.search(r"^ *green\b.* 0\b", captured.out, re.MULTILINE)
    assert re.search(r"3 images: 2 NOT OK, 1 OK; [\d.]+ images/s; results in ", captured.out)
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    pictures = {
        "a/one.png",
        "b/one.png",
        "b/two.jpg",
        "a/one_explain.png",
        "b/one_explain.png",
        "b/two_explain.png",
    }
    assert written == {"detections.json"} | pictures
    found = json.loads((out / "detections.json").read_text())["images"]
    assert [entry["verdict"] for entry in found] == ["NOT OK", "OK", "NOT OK"]


def test_how_near_everything_was_to_its_threshold_is_told(
    detect: Callable[..., tuple[int, Path]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An OK by the model's own threshold says little of a part that it never saw."""
    hint = "The threshold is the model's own"
    detect(folder / "b" / "one.png", folder / "a" / "one.png", "--prompts", "red, green")
    captured = capsys.readouterr().out
    assert re.search(r"^ red +1 +1\.00 +0\.50 *$", captured, re.MULTILINE)
    assert re.search(r"^ green +0 +0\.00 +0\.50 *$", captured, re.MULTILINE)
    assert hint in captured
    detect(folder / "b" / "one.png", "--prompts", "red", "--threshold", 0.25)
    captured = capsys.readouterr().out
    assert re.search(r"^ red +0 +0\.00 +0\.25 *$", captured, re.MULTILINE)
    assert hint not in captured
    detect(folder / "a" / "broken.png", "--prompts", "red")
    assert re.search(r"^ red +0 +- +0\.50 *$", capsys.readouterr().out, re.MULTILINE)


def test_a_broken_image_does_not_stop_the_others(
    detect: Callable[..., tuple[int, Path]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = detect(folder, "--prompts", "red", "--batch", 3)
    captured = capsys.readouterr()
    assert code == 1
    assert re.fullmatch(r"skipped: cannot read image \S+broken\.png: [^\n]+\n", captured.err)
    assert "3 images: 2 NOT OK, 1 OK, 1 could not be read" in captured.out
    assert len(json.loads((out / "detections.json").read_text())["problems"]) == 1


def test_nothing_found_is_no_error(detect: Callable[..., tuple[int, Path]], folder: Path) -> None:
    code, out = detect(folder / "b" / "one.png", "--prompts", "red")
    assert code == 0
    assert json.loads((out / "detections.json").read_text())["images"][0]["detections"] == []


def test_a_second_run_skips_the_first_ones_pictures(
    detect: Callable[..., tuple[int, Path]], folder: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        code, out = detect(tmp_path, "--prompts", "red", "--threshold", 0.9)
        assert code == 1  # of the broken image
        content = json.loads((out / "detections.json").read_text())
        assert len(content["images"]) == 3
        assert content["threshold"] == 0.9


def test_prompts_file(detect: Callable[..., tuple[int, Path]], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "defects.txt").write_text(
        "# what to look for\nred: crimson | scarlet\nÖl [fleck]\n", encoding="utf-8"
    )
    code, out = detect(folder / "a" / "one.png", "--prompts-file", tmp_path / "defects.txt")
    assert code == 0
    prompts = json.loads((out / "detections.json").read_text())["prompts"]
    assert prompts == [{"name": "red", "texts": ["crimson", "scarlet"]}, {"name": "Öl [fleck]", "texts": []}]


def test_names_are_not_markup(
    detect: Callable[..., tuple[int, Path]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detect(folder / "b", "--prompts", "[bold]edge[/bold], [red]")
    out = capsys.readouterr().out
    assert "[bold]edge[/bold]" in out
    assert "[red]" in out


def test_coco(detect: Callable[..., tuple[int, Path]], folder: Path, tmp_path: Path) -> None:
    content = {"images": [{"id": 3, "file_name": "a/one.png"}], "categories": [{"id": 8, "name": "red"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    code, out = detect("--coco", tmp_path / "instances.json", "--images", folder)
    assert code == 0
    (prediction,) = json.loads((out / "predictions.json").read_text())
    assert prediction == {
        "image_id": 3, "category_id": 8, "bbox": [128, 64, 64, 64], "score": pytest.approx(0.999643)
    }  # fmt: skip
    assert {path.name for path in out.iterdir()} == {"one.png", "detections.json", "predictions.json"}


def test_masks(
    detect: Callable[..., tuple[int, Path]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = detect(folder / "a" / "one.png", folder / "b" / "one.png", "--prompts", "red", "--masks")
    assert (code, capsys.readouterr().err) == (0, "")
    content = json.loads((out / "detections.json").read_text())
    assert content["masks"] == "surroundings"
    found = [entry["detections"] for entry in content["images"]]
    assert [len(each) for each in found] == [1, 0]
    segmentation = found[0][0]["segmentation"]
    assert segmentation["size"] == [256, 1024]
    counts = parse_counts(segmentation["counts"], (1024, 256))
    assert 0 < counts[1::2].sum() <= 64 * 64


def test_tiles(detect: Callable[..., tuple[int, Path]], tmp_path: Path) -> None:
    """A defect of 64 px in 2048: too small in the whole, found in tiles."""
    image = np.zeros((2048, 2048, 3), np.uint8)
    image[1024:1088, 512:576, 0] = 255
    Image.fromarray(image).save(tmp_path / "large.png")
    found = {}
    for name, more in (("whole", []), ("tiles", ["--tile", "256"])):
        code, out = detect(tmp_path / "large.png", "--prompts", "red", *more)
        content = json.loads((out / "detections.json").read_text())
        found[name] = (code, (content["tile"] or {}).get("side"), len(content["images"][0]["detections"]) > 0)
    assert found == {"whole": (0, None, False), "tiles": (0, 256, True)}


def test_tiles_within_a_time(
    detect: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (2048, 2048)).save(tmp_path / "large.png")
    options = ("--prompts", "red", "--tile", "256", "--tile-seconds")
    code, out = detect(tmp_path / "large.png", *options, "1e-9")
    assert (
        code == 0 and "1 images: the time was over before all parts were looked at" in capsys.readouterr().out
    )
    content = json.loads((out / "detections.json").read_text())
    assert content["tile"]["seconds"] == 1e-9
    assert content["images"][0]["tiles"] == {"looked_at": 0, "planned": 100}
    detect(tmp_path / "large.png", *options, "1e9")
    assert "the time was over" not in capsys.readouterr().out


def test_with_a_real_network(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    arguments = [
        folder / "b",
        "--prompts",
        "scratch, dent",
        "--weights",
        checkpoint,
        "--threshold",
        0,
        "--size",
        96,
    ]
    code = main(["detect", *map(str, arguments), "--batch", "2", "--explain", "--out", str(tmp_path / "out")])
    assert code == 0
    content = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert (content["model"], content["input_size"]) == ("small", 96)
    for entry in content["images"]:
        assert 0 < len(entry["detections"]) <= 300
        for detection in entry["detections"]:
            x1, y1, x2, y2 = detection["box_xyxy"]
            assert 0 <= x1 <= x2 <= 1024
            assert 0 <= y1 <= y2 <= 256


# ---- what it refuses


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{one}"], "either --prompts 'scratch, dent' or --prompts-file FILE, got neither"),
        (["{one}", "--prompts", "a", "--prompts-file", "{prompts}"], "got both"),
        (["--prompts", "red"], "expected an image, a folder or a pattern"),
        (["{one}", "--prompts", ""], "prompts: expected at least one"),
        (["{one}", "--prompts", " , "], "prompts: expected at least one"),
        (["{one}", "--prompts", "a,a"], "given before"),
        (["{one}", "--prompts-file", "{gone}"], "gone"),
        (["{one}", "--prompts-file", "{empty}"], "expected at least one prompt"),
        (["{one}", "--prompts-file", "{one}"], "not UTF-8"),
        (["{gone}", "--prompts", "a"], "no such file or folder"),
        (["", "--prompts", "a"], "no such file or folder"),
        (["{gone}/*.png", "--prompts", "a"], "no image matches"),
        (
            ["{one}", "--prompts", "a", "--threshold", "1.5"],
            "threshold: expected a number from 0 to 1, got 1.5",
        ),
        (
            ["{one}", "--prompts", "a", "--threshold", "-0.1"],
            "threshold: expected a number from 0 to 1, got -0.1",
        ),
        (
            ["{one}", "--prompts", "a", "--threshold", "nan"],
            "threshold: expected a number from 0 to 1, got nan",
        ),
        (["{one}", "--prompts", "a", "--threshold", "high"], "Invalid value for '--threshold'"),
        (["{one}", "--prompts", "a", "--batch", "0"], "batch: expected at least 1, got 0"),
        (["{one}", "--prompts", "a", "--size", "100"], "size: expected a positive multiple of 32, got 100"),
        (["{one}", "--prompts", "a", "--tile", "large"], "tile: expected auto, or a side in px such as 640"),
        (
            ["{one}", "--prompts", "a", "--tile-seconds", "2"],
            "--tile-seconds is the time for tiles: add --tile auto",
        ),
        (
            ["{one}", "--prompts", "a", "--tile", "64", "--tile-seconds", "0"],
            "expected more than 0 seconds, got 0.0",
        ),
        (["{one}", "--prompts", "a", "--size", "-32"], "size: expected a positive multiple of 32, got -32"),
        (["{one}", "--prompts", "a", "--device", "tpu"], "device: expected cpu or cuda, got 'tpu'"),
        (["{one}", "--prompts", "a", "--weights", "{gone}"], "no checkpoint at"),
        (["{one}", "--prompts", "a", "--weights", "{one}"], "not a readable safetensors file"),
        (["{one}", "--prompts", "a", "--nonsense"], "No such option"),
        (["{one}", "--prompts"], "requires an argument"),
        (["{one}", "--prompts", "a", "--images", "{gone}"], "--images goes with --coco"),
        (["--coco", "{coco}"], "--coco needs --images"),
        (["--coco", "{coco}", "--images", "{gone}"], "--images: expected a folder"),
        (["--coco", "{coco}", "--images", "{here}", "--prompts", "a"], "leave out --prompts"),
        (["--coco", "{coco}", "--images", "{here}", "{one}"], "leave out SOURCE"),
        (["--coco", "{one}", "--images", "{here}"], "is not a JSON file"),
        (["--coco", "{gone}", "--images", "{here}"], "cannot read the COCO file"),
        (["--coco", "{prompts}", "--images", "{here}"], "is not a JSON file"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    checkpoint: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    (tmp_path / "prompts.txt").write_text("red\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    coco = {"images": [{"id": 3, "file_name": "a/one.png"}], "categories": [{"id": 8, "name": "red"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    places = {
        "one": folder / "a" / "one.png",
        "here": folder,
        "gone": tmp_path / "gone",
        "prompts": tmp_path / "prompts.txt",
        "empty": tmp_path / "empty.txt",
        "coco": tmp_path / "coco.json",
    }
    filled = [argument.format(**places) for argument in arguments]
    weights = [] if "--weights" in filled else ["--weights", str(checkpoint)]
    before = set(tmp_path.rglob("*"))
    # In this order an option that lacks its value still comes last.
    code = main(["detect", *weights, "--out", str(tmp_path / "out"), *filled])
    assert code == 2
    assert expected in error_line(capsys)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("out", ["{file}", "{file}/below", "{folder}"])
def test_a_folder_that_cannot_be_written(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    (tmp_path / "file").touch()
    target = out.format(file=tmp_path / "file", folder=folder / "b")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert (
        main(["detect", str(folder / "b"), "--prompts", "a", "--weights", str(checkpoint), "--out", target])
        == 2
    )
    assert re.search(r"cannot write to|would overwrite", error_line(capsys))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere"
)
def test_a_closed_folder(
    detect: Callable[..., tuple[int, Path]], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    assert detect(folder / "b", "--prompts", "a")[0] == 2
    assert "no permission" in error_line(capsys)


def test_a_very_long_name_is_no_traceback(
    detect: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect("x" * 5000, "--prompts", "a")[0] == 2
    assert "name too long" in error_line(capsys).lower()


def test_random_files_in_every_place(
    detect: Callable[..., tuple[int, Path]], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    noise, image = tmp_path / "noise.png", folder / "a" / "one.png"
    for _ in range(40):
        noise.write_bytes(rng.bytes(int(rng.integers(0, 400))))
        assert detect(noise, "--prompts", "red")[0] == 1
        assert main(["detect", str(image), "--prompts-file", str(noise), "--out", str(tmp_path / "no")]) in (
            0,
            2,
        )
        assert (
            main(["detect", "--coco", str(noise), "--images", str(folder), "--out", str(tmp_path / "no")])
            == 2
        )
        assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.part"))


# ---- how it ends


def test_interruption(
    detect: Callable[..., tuple[int, Path]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rtvp.predict.run.write_json", interrupt)
    code, out = detect(folder / "b", "--prompts", "red")
    assert code == 130
    assert capsys.readouterr().err.strip() == "interrupted"
    assert not (out / "detections.json").exists()


def test_a_closed_pipe_is_quiet() -> None:
    """As in ``rtvp --help | head -0``."""
    reading, writing = os.pipe()
    os.close(reading)
    program = "import sys; from rtvp.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode != 0
    assert done.stderr == ""


def test_help_does_not_load_the_network() -> None:
    program = (
        "import sys; from rtvp.cli import main; code = main(['detect', '--help']); "
        "sys.exit(code or 10 * any(name in sys.modules for name in ('torch', 'cv2', 'transformers', 'PIL')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--prompts-file" in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rtvp {rtvp.__version__}\n"
    project = Path(__file__).parents[1] / "pyproject.toml"
    assert f'version = "{rtvp.__version__}"' in project.read_text()


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    captured = capsys.readouterr()
    assert "detect" in captured.out + captured.err


# ---- weights


def test_weights_fetch_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RTVP_HOME", str(tmp_path))
    assert main(["weights", "fetch", "mobile_sam", "--offline"]) == 2
    message = error_line(capsys)
    assert "offline" in message
    assert str(tmp_path / "mobile_sam.pt") in message
    assert main(["weights", "fetch", "unknown"]) == 2
    assert "expected one of" in error_line(capsys)


def test_weights_fetch_prints_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(name: str, offline: bool, progress: Callable[[int, int], None]) -> Path:
        progress(5, 10)
        return tmp_path / name

    monkeypatch.setattr("rtvp.models.weights.fetch", fetch)
    assert main(["weights", "fetch", "mobile_sam"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{tmp_path / 'mobile_sam'}\n", "")


@pytest.fixture
def known_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Only Mobile-SAM is known: these tests do not ask for the shipped model."""
    from rtvp.models import weights

    monkeypatch.setenv("RTVP_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "list_weights", lambda: (weights.KNOWN_WEIGHTS["mobile_sam"],))
    return tmp_path / "mobile_sam.pt"


def test_weights_list(known_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    for fact in (
        "mobile_sam",
        "40.7",
        "Apache-2.0",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    ):
        assert fact in out


def test_weights_verify(known_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify"]) == 0  # to be without what can be fetched is no damage
    assert "mobile_sam: missing" in capsys.readouterr().out
    known_weights.write_bytes(b"half a file")
    assert main(["weights", "verify"]) == 1
    assert "mobile_sam: bad" in capsys.readouterr().out


# ---- training


def test_train_passes_its_arguments_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def run_training(config_path: Path, out: Path, root: Path, benchmark: Path | None) -> Path:
        calls.append((config_path, out, root, benchmark))
        return out / "detector.safetensors"

    monkeypatch.setattr("rtvp.train.run_training", run_training)
    arguments = ["train", "some.yaml", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--benchmark", str(tmp_path / "built")]) == 0
    assert calls == [(Path("some.yaml"), tmp_path / "run", tmp_path, tmp_path / "built")]
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'detector.safetensors'}\n"


def test_train_without_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rtvp.train", None)
    assert main(["train", "some.yaml", "--data", str(tmp_path)]) == 2
    assert "pip install 'rtvp[train]'" in error_line(capsys)


def test_unknown_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rtvp.nonsense
    assert issubclass(RtvpError, Exception)
