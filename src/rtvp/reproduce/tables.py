"""Tables that show the paper's figures beside ours, in columns of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from rich.table import Column, Table

from rtvp.reproduce.paper import PaperTable, PaperValue

NOTHING = "–"
COUNTED = frozenset(
    {"parameters", "classes", "images", "scenes", "modal"}
)  # shown as they are, not in points

Figures = Mapping[str, float | None]  # of one run; shares in [0, 1], or counts


@dataclass(frozen=True, slots=True)
class OurRow:
    """One of our arms.

    Attributes:
        title: what tables call it.
        paper_row: the row of the paper's table that it stands beside; None where there is none.
        trained_as: encoders and budget, in a line.
        runs: the figures of each seed.
    """

    title: str
    paper_row: str | None
    trained_as: str
    runs: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table as text.

    Attributes:
        title: its heading.
        columns: their headings.
        rows: cells, as many a row as there are columns.
        notes: what a reader has to know to read it.
        words: how many of the first columns hold words, not numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    def to_rich(self) -> Table:
        """For the terminal, which has no room for a third column of words: it goes below."""
        narrow = min(self.words, 2)
        heads = [Column(name, overflow="fold") for name in self.columns[:narrow]]
        numbers = [name.replace(", ", ",\n") for name in self.columns[self.words :]]
        heads += [Column(name, justify="right", overflow="fold") for name in numbers]
        details = [f"{row[narrow - 1]}: {row[narrow]}" for row in self.rows if self.words > 2 and row[narrow]]
        caption = "\n".join(details) or None
        table = Table(*heads, title=self.title, caption=caption, caption_justify="left", box=None)
        for row in self.rows:
            table.add_row(*row[:narrow], *row[self.words :])
        return table

    def to_markdown(self, level: int = 2) -> str:
        """Heading of ``level``, table and notes."""
        lines = [f"{'#' * level} {self.title}", "", _line(self.columns)]
        lines.append(_line(["---"] * self.words + ["---:"] * (len(self.columns) - self.words)))
        lines += [_line(row) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
            "words": self.words,
        }


def beside_paper(paper: PaperTable, ours: Sequence[OurRow], notes: Sequence[str] = ()) -> ResultTable:
    """The paper's table, each of its columns followed by ours; rows that only one side has are blank beside.

    Rows come in the paper's order, then those of ours that it does not have.
    """
    columns = ["method in the paper", "method here", "trained as, here"]
    for column in paper.columns:
        columns += [f"{column}, paper", f"{column}, here"]
    rows: list[tuple[str, ...]] = []
    for name, values in paper.rows.items():
        # Two of our arms may stand beside one row of the paper.
        beside: list[OurRow | None] = [row for row in ours if row.paper_row == name]
        rows += [_row(name, row, paper.columns, values) for row in beside or [None]]
    blank = [None] * len(paper.columns)
    rows += [_row("", row, paper.columns, blank) for row in ours if row.paper_row is None]
    return ResultTable(paper.title, tuple(columns), tuple(rows), tuple(notes), words=3)


def spread(values: Sequence[float | None], column: str) -> str:
    """Mean over the seeds and, from two on, their standard deviation; shares in points, one decimal."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    scale = 1.0 if column in COUNTED else 100.0
    mean = f"{scale * fmean(known):.1f}"
    return f"{mean} ± {scale * stdev(known):.1f}" if len(known) > 1 else mean


def _row(
    name: str, row: OurRow | None, columns: Sequence[str], values: Sequence[PaperValue]
) -> tuple[str, ...]:
    cells = [name, *(("", "") if row is None else (row.title, row.trained_as))]
    for column, value in zip(columns, values, strict=True):
        cells.append("" if not name else NOTHING if value is None else str(value))
        cells.append("" if row is None else spread([run.get(column) for run in row.runs], column))
    return tuple(cells)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
