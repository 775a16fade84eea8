from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from rtvp.cli_evaluate import evaluate_command
from rtvp.config import DetectorConfig
from rtvp.data.labelled import LabelledSet, SplitSets
from rtvp.errors import RtvpError
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.models.build import build_detector
from rtvp.models.text_encoder import make_text_encoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Detector

SQUARE = (128.0, 64.0, 192.0, 128.0)
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, colour_detector: Detector) -> Run:
    """``rtvp evaluate`` with the detector of known answers; returns what it prints."""
    monkeypatch.setattr("rtvp.predict.load", lambda weights, device, size: colour_detector)
    app = typer.Typer()
    app.command()(evaluate_command)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return run


@pytest.fixture
def coco(folder: Path, red_square: np.ndarray) -> Path:
    """A red square, labelled as the second of the names; a black picture."""
    x1, y1, x2, y2 = SQUARE
    Image.fromarray(np.roll(red_square, 1, axis=2)).save(folder / "green.png")
    images = [
        {"id": 4, "file_name": "green.png", "width": 1024, "height": 256},
        {"id": 2, "file_name": "b/one.png", "width": 1024, "height": 256},
    ]
    box = {"id": 1, "image_id": 4, "category_id": 3, "bbox": [x1, y1, x2 - x1, y2 - y1]}
    categories = [{"id": 3, "name": "green_mark"}, {"id": 8, "name": "a red mark"}]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": [box], "categories": categories}))
    return path


def figures(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_a_coco_file(run: Run, coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "figures.json"
    printed = run("--coco", coco, "--images", coco.parent, "--json", out, "--bootstrap", 4)
    content = figures(out)
    assert content["figures"]["AP"] == pytest.approx(1.0)
    assert content["figures"]["auroc"] == 1.0
    assert content["intervals"]["AP"] == pytest.approx([1.0, 1.0])
    assert (content["images"], content["good"], content["boxes"]) == (2, 1, 1)
    assert (content["model"], content["input_size"], content["prompts"]) == ("colours", 256, "own")
    assert content["operating_point"]["threshold"] == 0.5
    assert list(content["categories"]) == ["green mark"]
    assert "green mark" in printed and "100.0 to 100.0" in printed
    assert "2 images, 1 good; 1 boxes; at the threshold 0.500: precision 100.0, recall 100.0" in printed


def test_tiles_are_told(run: Run, coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    run("--coco", coco, "--images", coco.parent, "--tile", 128, "--json", out)
    assert figures(out)["tile"] == "128"
    assert figures(out)["figures"]["AP50"] > 0


def test_compared_with_good_parts(
    run: Run, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, red_square: np.ndarray
) -> None:
    torch.manual_seed(0)
    config = DetectorConfig(channels=16, input_size=64)
    network = TorchNetwork(build_detector(config))
    small = Detector(network, config, make_text_encoder("minilm"), digest="ab12")
    monkeypatch.setattr("rtvp.predict.load", lambda weights, device, size: small)
    (tmp_path / "good").mkdir()
    for number in range(3):
        Image.fromarray(red_square // (number + 2)).save(tmp_path / "good" / f"{number}.png")
    out = tmp_path / "figures.json"
    command = ("--coco", coco, "--images", coco.parent, "--json", out)
    run(*command)
    alone = figures(out)
    run(*command, "--reference", tmp_path / "good")
    compared = figures(out)
    assert alone["weights"] == "ab12"
    assert compared["weights"].startswith("ab12, compared with ")
    for wrong, message in (
        (("--reference", coco.parent / "b"), "other images than those that are measured, got .*one.png"),
        (
            ("--reference", tmp_path / "good", "--tile", 128),
            "--reference goes with .* not with .* --tile",
        ),
    ):
        with pytest.raises(RtvpError, match=message):
            run(*command, *wrong)


def test_interrupted_it_goes_on_from_what_it_kept(
    run: Run, coco: Path, colour_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--coco", coco, "--images", coco.parent, "--keep", tmp_path / "kept.jsonl", "--json")
    plain = run(*command[:4], "--json", tmp_path / "plain.json")
    module = colour_detector.network.module  # type: ignore[attr-defined]
    looked, forward = [], module.forward

    def interrupted(images: Tensor, text: Tensor) -> Any:
        looked.append(len(images))
        if len(looked) == 2:
            raise KeyboardInterrupt
        return forward(images, text)

    monkeypatch.setattr(module, "forward", interrupted)
    run(*command, tmp_path / "first.json", "--batch", 1)
    assert not (tmp_path / "first.json").exists()
    assert run(*command, tmp_path / "second.json", "--batch", 1) == plain
    assert looked == [1, 1, 1]
    assert figures(tmp_path / "second.json") == figures(tmp_path / "plain.json")


def test_the_generic_prompt(run: Run, coco: Path, tmp_path: Path) -> None:
    """The only prompt is now the first one, which the network takes for red."""
    out = tmp_path / "figures.json"
    run("--coco", coco, "--images", coco.parent, "--prompts", "generic", "--json", out)
    assert list(figures(out)["categories"]) == ["defect"]
    assert figures(out)["figures"]["AP"] == 0


def test_results_need_neither_model_nor_images(
    run: Run, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("rtvp.predict.load")
    box = {"image_id": 4, "category_id": 3, "bbox": [128, 64, 64, 60], "score": 0.8}
    results, out = tmp_path / "results.json", tmp_path / "figures.json"
    results.write_text(json.dumps([box, {**box, "image_id": 2, "score": 0.4}]))
    run("--coco", coco, "--results", results, "--json", out)
    content = figures(out)
    assert content["figures"]["AP"] == pytest.approx(0.9)  # IoU 15 / 16
    assert content["operating_point"]["threshold"] == pytest.approx(0.6)
    run("--coco", coco, "--results", results, "--json", out, "--threshold", 0.3)
    assert figures(out)["figures"]["false_per_good"] == 1


def test_an_lvis_file(run: Run, coco: Path, tmp_path: Path) -> None:
    content = figures(coco)
    for image in content["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for category in content["categories"]:
        category["frequency"] = "r"
    lvis, out = tmp_path / "lvis.json", tmp_path / "figures.json"
    lvis.write_text(json.dumps(content))
    run("--coco", lvis, "--lvis", "--images", coco.parent, "--json", out)
    assert figures(out)["figures"]["APr"] == pytest.approx(1.0)
    assert figures(out)["figures"]["APc"] is None


@pytest.fixture
def build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build whose split has red marks, which are unseen, and green ones, which no image shows."""
    record = ImageRecord(folder / "a/one.png", 1024, 256, (Annotation("a red mark", SQUARE),), "g")
    good = ImageRecord(folder / "b/one.png", 1024, 256, (), "h")
    vocabulary = frozenset({"a red mark", "green mark"})
    train = LabelledSet("seen", "boards", "electronics", (good,), frozenset({"green mark"}))
    test = LabelledSet("tested", "wheels", "metallurgy", (record, good), vocabulary)

    def read_split_sets(build: Path, root: Path, split: str) -> SplitSets:
        unseen = () if split == "closed" else ("a red mark",)
        return SplitSets(split, (train,), (test,), ("green mark",), unseen, f"digest of {split}")

    monkeypatch.setattr("rtvp.data.labelled.read_split_sets", read_split_sets)
    return folder


def test_a_split_of_the_benchmark(run: Run, build: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    arguments = ("--benchmark", build, "--split", "zero-shot/category", "--data", build, "--json", out)
    for prompts in ("own", "all", "unseen"):
        printed = run(*arguments, "--prompts", prompts)
        content = figures(out)
        assert content["figures"]["AP_unseen"] == pytest.approx(1.0)
        assert content["figures"]["AP_seen"] is None
        assert (content["split"], content["side"], content["prompts"]) == (
            "zero-shot/category",
            "test",
            prompts,
        )
        assert content["data_digest"] == "digest of zero-shot/category"
        assert "unseen" in printed
    run(*arguments, "--side", "train")
    assert figures(out)["images"] == 1


def test_the_folder_of_the_sets_may_be_in_the_environment(
    run: Run, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RTVP_DATA", raising=False)
    with pytest.raises(RtvpError, match="give --data, or set RTVP_DATA"):
        run("--benchmark", build)
    monkeypatch.setenv("RTVP_DATA", str(build))
    assert "2 images, 1 good" in run("--benchmark", build)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected --benchmark BUILD or --coco FILE to evaluate on, got neither"),
        (("--benchmark", "b", "--coco", "c"), "got both"),
        (("--benchmark", "b", "--results", "r"), "--results goes with --coco"),
        (("--benchmark", "b", "--lvis"), "--lvis goes with --coco"),
        (("--coco", "c"), "--coco needs --images"),
        (("--coco", "c", "--images", "nowhere"), "--images: expected a folder, got nowhere"),
        (("--coco", "c", "--results", "r", "--weights", "w"), "or --results to run none, got both"),
        (("--coco", "c", "--results", "r", "--prompts", "generic"), "--prompts"),
        (("--coco", "c", "--images", ".", "--prompts", "unseen"), "does not say what is unseen"),
        (("--coco", "c", "--results", "r", "--keep", "k"), "--keep: results were made before"),
        (("--coco", "c", "--results", "r", "--threshold", "2"), "--threshold: expected a number from 0 to 1"),
        (("--benchmark", "b", "--data", ".", "--prompts", "unseen"), "closed has no unseen names"),
    ],
)
def test_what_does_not_go_together_is_said(
    run: Run, build: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RtvpError, match=message):
        run(*arguments)
