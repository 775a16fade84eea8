"""``rtvp mmio`` as people call it, over small sets that the tests write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rtvp.cli import main
from rtvp.mmio.coco_file import read_coco_file


def write_yolo(folder: Path, names: list[str], labels: dict[str, str], seed: int = 0) -> Path:
    """A set in YOLO's layout: noise, 80 x 60 px, and a label file for each image."""
    rng = np.random.default_rng(seed)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": names}))
    for name, lines in labels.items():
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"images/{name}.png")
        (folder / f"labels/{name}.txt").write_text(lines)
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    labels = {"a": "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.5\n", "b": "1 0.5 0.5 0.1 0.2\n", "c": ""}
    return write_yolo(tmp_path / "parts", ["Scratch", "Oil stain"], labels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder of two sets of the table."""
    folder = tmp_path / "data"
    labels = {f"g{i}": "0 0.5 0.5 0.25 0.25\n" if i else "1 0.5 0.5 1 1\n" for i in range(6)}
    write_yolo(folder / "gear-fault" / "train", ["Fault-Exist", "No Fault"], labels, 1)
    (folder / "gear-fault/train/data.yaml").rename(folder / "gear-fault/data.yaml")
    labels = {f"d{i}": "0 0.5 0.5 0.25 0.25\n" for i in range(6)}
    write_yolo(folder / "garment-dirt/DatasetUsed/train", ["Dirty_mark"], labels, 2)
    (folder / "garment-dirt/DatasetUsed/train/data.yaml").rename(
        folder / "garment-dirt/DatasetUsed/data.yaml"
    )
    return folder


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a wrong call ends in."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_convert_check_export_and_back(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.yaml").write_text("Scratch: scratch\n")
    out = tmp_path / "parts.json"
    assert (
        main(["mmio", "convert", "yolo", str(parts), str(out), "--names", str(tmp_path / "names.yaml")]) == 0
    )
    assert "3 images, 1 of them good, 3 boxes" in capsys.readouterr().out
    first = read_coco_file(out)
    assert first.categories == ("Oil stain", "scratch")
    assert [item.file_name for item in first.items] == ["images/a.png", "images/b.png", "images/c.png"]
    assert {a.name: a.box_xyxy for a in first.items[0].annotations}["scratch"] == (20, 15, 60, 45)

    assert main(["mmio", "check", str(out), "--images", str(parts), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 0

    voc = tmp_path / "voc"
    assert main(["mmio", "export", str(out), str(voc), "--format", "voc", "--images", str(parts)]) == 0
    again = tmp_path / "again.json"
    assert main(["mmio", "convert", "voc", str(voc), str(again)]) == 0
    boxes = [[a.box_xyxy for a in item.annotations] for item in first.items]
    assert [[a.box_xyxy for a in item.annotations] for item in read_coco_file(again).items] == boxes


def test_a_broken_label_file_stops_a_conversion_unless_it_is_to_be_skipped(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (parts / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n0 nan 0.5 0.1 0.1\n")
    out = tmp_path / "out.json"
    line = failure(capsys, "mmio", "convert", "yolo", str(parts), str(out))
    assert "labels/a.txt:2: " in line and "--skip-broken" in line
    assert not out.exists()
    assert main(["mmio", "convert", "yolo", str(parts), str(out), "--skip-broken"]) == 0
    assert [item.file_name for item in read_coco_file(out).items] == ["images/b.png", "images/c.png"]


def test_options_of_a_format(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["mmio", "convert", "yolo", str(parts), str(out), "--option", "classes=[dent, rust]"]
    assert main(arguments) == 0
    assert read_coco_file(out).categories == ("dent", "rust")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["convert", "yolov9", "PARTS", "OUT"], "expected a format out of .*yolo.*got 'yolov9'"),
        (["convert", "yolo", "PARTS", "OUT", "--option", "clases=[a]"], "a name out of .*classes.*clases"),
        (["convert", "yolo", "PARTS", "OUT", "--option", "classes=[a"], "--option classes: expected a YAML"),
        (["convert", "voc", "PARTS", "OUT", "--masks"], "voc knows boxes only"),
        (["convert", "voc", "PARTS", "OUT"], "expected images with labels in the layout voc, found none"),
        (["convert", "yolo", "NOWHERE", "OUT"], "expected the folder of a data set"),
        (["export", "NOWHERE", "OUT", "--format", "voc"], "NOWHERE"),
        (["export", "NOWHERE", "OUT", "--format", "csv"], "--format: expected one of .*got 'csv'"),
        (["build", "--root", "NOWHERE", "--out", "OUT"], "expected the folder of the data sets"),
        (["build", "--root", "PARTS", "--out", "OUT"], "PARTS"),
        (["leaks", "PARTS", "closed"], "expected a finished build in"),
        (["stats", "PARTS", "--out", "OUT"], "expected a finished build in"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    places = {"PARTS": str(parts), "OUT": str(tmp_path / "out"), "NOWHERE": str(tmp_path / "nowhere")}
    line = failure(capsys, "mmio", *(places.get(argument, argument) for argument in arguments))
    for place, path in places.items():
        line = line.replace(path, place)
    assert re.search(told, line), line
    assert not (tmp_path / "out").exists()


def test_sources_says_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mmio", "sources", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "2 of " in out and "12 images" in out
    assert "severstal" in out


def test_build_leaks_stats_and_pack(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tmp_path / "built"
    monkeypatch.setenv("RTVP_DATA", str(root))
    assert main(["mmio", "build", "--out", str(built), "--jobs", "1"]) == 0
    assert "12 images, 0 removed" in capsys.readouterr().out
    coco = read_coco_file(built / "annotations" / "all.json")
    assert coco.categories == ("dirty mark", "gear fault")

    assert main(["mmio", "leaks", str(built), "closed"]) == 0
    assert "keeps its promise" in capsys.readouterr().out
    assert main(["mmio", "leaks", str(built), "no such split"]) == 2
    assert "expected a split out of" in capsys.readouterr().err

    shards = tmp_path / "shards"
    arguments = ["mmio", "pack", str(built / "annotations" / "all.json"), "--out", str(shards)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("12 images, 11 boxes")
    assert list(shards.glob("*.tar"))

    pytest.importorskip("matplotlib", reason="plots need the mmio extra")
    assert main(["mmio", "stats", str(built), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "gear fault" in page and "http-equiv" in page


def test_a_broken_split_is_exit_code_1(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = tmp_path / "built"
    assert main(["mmio", "build", "--root", str(root), "--out", str(built), "--jobs", "1"]) == 0
    report = json.loads((built / "report.json").read_text())
    sides = {
        row: json.loads((built / "annotations" / f"closed_{row}.json").read_text())
        for row in ("train", "test")
    }
    one, other = (
        f"{image['source']}/{image['file_name'].removeprefix(image['source'] + '/')}"
        for image in (sides["train"]["images"][0], sides["test"]["images"][0])
    )
    report["near_duplicates"] = [{"one": one, "other": other}]
    (built / "report.json").write_text(json.dumps(report))
    capsys.readouterr()
    assert main(["mmio", "leaks", str(built), "closed"]) == 1
    assert f"nearly the same: {one} and {other}" in capsys.readouterr().out
