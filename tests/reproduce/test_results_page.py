"""docs/results.md, out of files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_results import run_result

from rtvp.errors import RtvpError
from rtvp.reproduce.items import ITEMS
from rtvp.reproduce.results import read_results, write_json, write_result, write_table
from rtvp.reproduce.results_page import write_results_page
from rtvp.reproduce.tables import ResultTable


def table(title: str) -> ResultTable:
    return ResultTable(title, ("method", "AP, paper", "AP, here"), (("RTVP", "24.7", "3.1"),), ("a note",))


def test_the_page_has_claims_tables_pictures_and_hardware(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "docs" / "results.md"
    for arm, value in (("yolo-world-like", 0.1), ("rtvp", 0.2)):
        for seed in (0, 1):  # one alone reproduces nothing
            write_result(results, run_result(arm, {"AP": value + seed / 1000}, seed=seed))
    write_table(results, "table2b", "smoke", [table("Smoke table")])
    write_table(results, "table2b", "cpu", [table("CPU table")])
    write_table(results, "figure2", None, [table("What MMIO holds")])
    (results / "figure2" / "scenes.png").write_bytes(b"")
    text = write_results_page(results, page).read_text(encoding="utf-8")
    assert (
        "| Table 2b | zero-shot-category: AP above that of YOLO-World-S | reproduced | RTVP +10.0 ± 0.0 AP"
        in text
    )
    assert "| Table 3 | MS-COCO: AP at least 2.3 points above that of YOLOv8-S | not testable here |" in text
    assert "### CPU table" in text and "Smoke table" not in text
    assert "| RTVP | 24.7 | 3.1 |" in text
    assert "`rtvp reproduce table2b --budget cpu`" in text
    assert "`rtvp reproduce figure2`" in text
    assert "![scenes](../results/figure2/scenes.png)" in text
    assert "- Some CPU, 2 threads, no GPU; Python 3.11, torch 2.9, rtvp 0.1: table2b (cpu)" in text
    assert write_results_page(results, page).read_text(encoding="utf-8") == text


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    result = run_result("peer:a/b c", {"AP": None, "AP50": 0.5}, seed=2)
    path = write_result(tmp_path, result)
    assert path == tmp_path / "table2b/cpu/zero-shot-category/peer_a_b_c-2.json"
    assert read_results(tmp_path) == [result]


def test_no_results_and_damaged_ones_are_told(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="found none: run an item first"):
        write_results_page(tmp_path, tmp_path / "results.md")
    write_json(tmp_path / "table5/cpu/closed/rtvp-0.json", {"item": "table5"})
    with pytest.raises(RtvpError, match=r"rtvp-0\.json: budget"):
        read_results(tmp_path)
    (tmp_path / "table5/cpu/closed/rtvp-0.json").write_text('{"item":', encoding="utf-8")
    with pytest.raises(RtvpError, match="expected a JSON file"):
        read_results(tmp_path)


def test_every_item_of_the_paper_is_there_and_two_more() -> None:
    tables = {"table1", "table2a", "table2b", "table3", "table4", "table5", "table6"}
    assert set(ITEMS) == tables | {"figure2", "figure4", "figure5"} | {"levers", "scenes"}
