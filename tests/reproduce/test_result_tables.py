"""Tables with the paper's columns beside ours."""

from __future__ import annotations

import io

from rich.console import Console

from rtvp.reproduce.paper import PaperTable
from rtvp.reproduce.tables import NOTHING, OurRow, ResultTable, beside_paper, spread

PAPER = PaperTable(
    title="Zero-shot", columns=["parameters", "AP"], rows={"GLIP-T": [232, 19.6], "RTVP": [131, None]}
)


def test_the_papers_values_and_ours_stand_in_columns_of_their_own() -> None:
    runs = ({"parameters": 5.04, "AP": 0.1}, {"parameters": 5.04, "AP": 0.2})
    rows = [OurRow("RTVP here", "RTVP", "lite0", runs), OurRow("peer", None, "as it comes", ({"AP": None},))]
    table = beside_paper(PAPER, rows, ["note"])
    assert table.columns == (
        "method in the paper",
        "method here",
        "trained as, here",
        "parameters, paper",
        "parameters, here",
        "AP, paper",
        "AP, here",
    )
    assert table.rows == (
        ("GLIP-T", "", "", "232", "", "19.6", ""),
        ("RTVP", "RTVP here", "lite0", "131", "5.0 ± 0.0", NOTHING, "15.0 ± 7.1"),
        ("", "peer", "as it comes", "", NOTHING, "", NOTHING),
    )


def test_two_of_our_arms_can_stand_beside_one_row() -> None:
    rows = [OurRow(title, "RTVP", "", ({"AP": 0.5},)) for title in ("one", "two")]
    table = beside_paper(PAPER, rows)
    assert [row[:2] for row in table.rows] == [("GLIP-T", ""), ("RTVP", "one"), ("RTVP", "two")]


def test_one_seed_has_no_spread_and_a_missing_seed_does_not_count() -> None:
    assert spread([0.123], "AP") == "12.3"
    assert spread([0.1, None, 0.3], "AP") == "20.0 ± 14.1"
    assert spread([7.25], "parameters") == "7.2"
    assert spread([], "AP") == NOTHING


def test_the_terminal_has_the_third_column_of_words_below() -> None:
    table = beside_paper(PAPER, [OurRow("RTVP here", "RTVP", "lite0; 224 px", ({"AP": 0.1},))])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table.to_rich())
    text = console.export_text()
    assert "RTVP here: lite0; 224 px" in text and "…" not in text
    assert "19.6" in text and "10.0" in text


def test_markdown_keeps_bars_inside_cells() -> None:
    table = ResultTable("T", ("a", "b"), (("x|y", "1"),), ("n",))
    assert table.to_markdown(3) == "### T\n\n| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n\nn\n"
    assert table.to_json() == {
        "title": "T",
        "columns": ["a", "b"],
        "rows": [{"a": "x|y", "b": "1"}],
        "notes": ["n"],
        "words": 1,
    }
