"""The paper's numbers, as they are kept."""

from __future__ import annotations

import pytest

from rtvp.mmio.statistics_schema import PAPER_TABLE_1
from rtvp.reproduce.paper import PaperTable, paper_number, paper_tables


def test_table_1_is_that_of_the_benchmark() -> None:
    kept = paper_tables()["table1"]
    theirs = {
        row["dataset"].removesuffix(" (paper)"): [row["classes"], row["images"], row["scenes"], row["modal"]]
        for row in PAPER_TABLE_1
    }
    assert kept.rows == theirs


def test_tables_agree_where_the_paper_prints_a_figure_twice() -> None:
    tables = paper_tables()
    zero_shot = tables["table5-zero-shot"].rows["RTVP"]
    assert tables["table2b"].rows["RTVP"][1:] == tables["table6"].rows["32"] == zero_shot
    assert tables["table2a"].rows["RTVP"][:2] == tables["table5-closed"].rows["RTVP"][:2]


@pytest.mark.parametrize(
    ("table", "row", "column", "number"),
    [
        ("table2a", "YOLOv10-S", "recall", 67.0),
        ("table2b", "Grounding DINO-T", "AP75", 23.9),
        ("table3", "RTVP", "APs", 35.2),
        ("table4", "RTVP (O365, GoldG)", "APf", 30.7),
        ("table5-closed", "-Expert Domain Adapter", "AP75", 29.1),
        ("table6", "128", "AP50", 33.0),
    ],
)
def test_numbers(table: str, row: str, column: str, number: float) -> None:
    assert paper_number(table, row, column) == number


def test_a_cell_without_a_number_is_no_number() -> None:
    with pytest.raises(ValueError, match="float"):
        paper_number("table3", "YOLOv8-S", "APs")


def test_a_row_has_a_value_for_every_column() -> None:
    with pytest.raises(ValueError, match="RTVP: expected 2 values, got 1"):
        PaperTable(title="t", columns=["AP", "AP50"], rows={"RTVP": [1.0]})
