"""Tables, for the terminal and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as RichTable

from benchmarks import chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmarks.chart import Bar


@dataclass(frozen=True)
class Table:
    """A table of the report; its last column is text, the others are figures.

    Attributes:
        title: Its heading.
        text: What is measured, in a few sentences.
        columns: The headings of the columns.
        rows: The cells.
        notes: What a reader has to know about single rows.
        bars: What of it is drawn, too.
        drawing: Something else that is drawn, in lines of text.
    """

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    bars: Sequence[Bar] = ()
    drawing: str = ""

    @property
    def slug(self) -> str:
        """The title as the name of a file."""
        return "-".join(self.title.lower().split())


def show(table: Table, console: Console) -> None:
    """Print the table."""
    shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE)
    for column in table.columns[:-1]:
        shown.add_column(column, justify="right")
    shown.add_column(table.columns[-1], no_wrap=True)
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)
    if table.bars:
        console.print(chart.text(table.bars), markup=False, highlight=False, soft_wrap=True)
    if table.drawing:
        console.print(table.drawing, markup=False, highlight=False, soft_wrap=True)
    for note in table.notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)


def markdown(table: Table, pictures: str) -> str:
    """Return the table as Markdown, under its heading; its chart as text and as a picture.

    Args:
        table: What was measured.
        pictures: Where the page finds the pictures, relative to itself.
    """
    dashes = [*["---:"] * (len(table.columns) - 1), "---"]
    lines = [_line(cells) for cells in (table.columns, dashes, *table.rows)]
    parts = [f"## {table.title}", table.text, "\n".join(lines)]
    if table.bars:
        parts.append(f"![{table.title}: the medians as bars]({pictures}/{table.slug}.png)")
        parts.append(f"```text\n{chart.text(table.bars)}\n```")
    if table.drawing:
        parts.append(f"```text\n{table.drawing}\n```")
    if table.notes:
        parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(part for part in parts if part)


def seconds(value: float) -> str:
    """Return seconds with two digits after the point."""
    return f"{value:.2f} s"


def milliseconds(value: float) -> str:
    """Return seconds as milliseconds."""
    return f"{value * 1000:.2f} ms"


def megabytes(value: float) -> str:
    """Return bytes as megabytes."""
    return f"{value / 1e6:.0f} MB"


def ratio(value: float, base: float | None) -> str:
    """Return how many times *base* a value is; a dash where there is nothing to compare with."""
    return f"{value / base:.2f} x" if base else "-"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
