"""The numbers that the paper prints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from pydantic import model_validator

from rtvp.config import StrictModel, parse_config

PaperValue = int | float | str | None


class PaperTable(StrictModel):
    """One table.

    Attributes:
        title: what it compares.
        columns: what is measured; percentages in points, ``parameters`` in millions.
        rows: what the paper calls a method -> a value for each column; None where it prints "-".
    """

    title: str
    columns: list[str]
    rows: dict[str, list[PaperValue]]

    @model_validator(mode="after")
    def _is_full(self) -> PaperTable:
        for name, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(f"{name}: expected {len(self.columns)} values, got {len(values)}")
        return self

    def value(self, row: str, column: str) -> PaperValue:
        """One cell.

        Raises:
            KeyError, ValueError: no such row or column.
        """
        return self.rows[row][self.columns.index(column)]


class _Paper(StrictModel):
    tables: dict[str, PaperTable]


@lru_cache(maxsize=1)
def paper_tables() -> Mapping[str, PaperTable]:
    """All tables, by "table1", "table2a", ..., "table5-closed", "table5-zero-shot", "table6"."""
    text = (resources.files("rtvp.reproduce") / "paper.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return parse_config({"tables": content}, _Paper, "paper.yaml").tables


def paper_number(table: str, row: str, column: str) -> float:
    """One number of a table.

    Raises:
        KeyError, ValueError: no such table, row or column, or no number in that cell.
    """
    return float(paper_tables()[table].value(row, column) or "-")
