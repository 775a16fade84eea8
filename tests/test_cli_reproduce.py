"""``rtvp reproduce`` as people call it, over small sets that the tests write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from rtvp.cli_reproduce import reproduce_command
from rtvp.errors import RtvpError

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``rtvp reproduce`` in an empty folder; returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RTVP_DATA", raising=False)
    app = typer.Typer()
    app.command()(reproduce_command)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sets of the table of sources: faults of gears, dirt on garments; one square an image."""
    folder = tmp_path / "data"
    _write_set(folder / "gear-fault", ["Fault-Exist", "No Fault"], 1)
    _write_set(folder / "garment-dirt" / "DatasetUsed", ["Dirty_mark"], 2)
    return folder


def _write_set(folder: Path, names: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    (folder / "train" / "images").mkdir(parents=True)
    (folder / "train" / "labels").mkdir()
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": names}))
    for number in range(10):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC)
        picture.save(folder / "train" / "images" / f"{number}.png")
        (folder / "train" / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")


def cells(path: Path) -> list[dict[str, str]]:
    (table,) = json.loads(path.read_text(encoding="utf-8"))
    rows: list[dict[str, str]] = table["rows"]
    return rows


def test_the_list_names_every_item(run: Run) -> None:
    printed = run("list")
    assert "table5: each part left out" in printed and "figure5: " in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["table7"], "expected an item out of table1, .*results-page, got 'table7'"),
        (["table5", "--budget", "huge"], "--budget: expected one of smoke, cpu, gpu, paper, got 'huge'"),
        (["table5"], "give --data, or set RTVP_DATA; `rtvp mmio sources` says"),
        (["table5", "--data", "nowhere"], "got nowhere, which is no folder"),
        (["table3"], "table3: expected --coco FOLDER with annotations/instances_train2017.json"),
        (["table4"], "table4: expected --lvis FOLDER with lvis_v1_train.json"),
        (["table3", "--coco", "nowhere"], "nowhere: expected annotations/instances_train2017.json"),
        (["table5", "--data", ".", "--peer", "a/b"], "--peer: expected an item"),
        (["table5", "--data", ".", "--benchmark", "."], "expected a finished build"),
        (["results-page"], "expected results of rtvp reproduce, found none"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    run: Run, tmp_path: Path, arguments: list[str], told: str
) -> None:
    with pytest.raises(RtvpError, match=told) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_table_1_from_the_folders_of_the_sets(run: Run, root: Path, tmp_path: Path) -> None:
    printed = run("table1", "--data", root)
    assert "built here" in printed
    rows = cells(tmp_path / "results" / "table1" / "table.json")
    assert rows[-1]["images"] == "20"
    assert (tmp_path / "runs" / "reproduce" / "benchmark" / "manifest.json").is_file()
    page = run("results-page", "--page", tmp_path / "results.md").strip()
    assert "built here | 2 | 20 | 2 | Text, Image" in Path(page).read_text(encoding="utf-8")
