"""Tables that neither a narrow terminal nor a pipe cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from workers.terminal.console import Console, visible

PROSE_WIDTH = 30
"""The least width of a column of prose, in characters."""


class UncutTable(Table):
    """A table whose names and numbers stay whole. Only columns of prose are wrapped.

    Where the columns need more room than the console has, the table is wider than the console.
    """

    def __init__(self, names: Sequence[str], numbers: Sequence[str] = (), prose: Sequence[str] = (), **looks: Any):
        """Columns from left to right: names, numbers (aligned right), prose."""
        super().__init__(**{"box": None, "pad_edge": False, **looks})
        for name in names:
            self.add_column(name, no_wrap=True)
        for name in numbers:
            self.add_column(name, justify="right", no_wrap=True)
        for name in prose:
            self.add_column(name, overflow="fold", min_width=PROSE_WIDTH)

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row of plain text, in which nothing is markup."""
        self.add_row(*(Text(visible(cell)) for cell in cells), style=style)

    def __rich_console__(self, console: Any, options: ConsoleOptions) -> RenderResult:
        for column in self.columns:
            if column.no_wrap:
                column.min_width = max(map(_width, [column.header, *column.cells]))
        least = self.__rich_measure__(console, options.update(max_width=1 << 16)).minimum
        return super().__rich_console__(console, options.update(max_width=max(options.max_width, least)))


def print_table(console: Console, table: UncutTable) -> None:
    """Print a table, wider than the console if it has to be."""
    console.print(table, crop=False, soft_wrap=False)


def _width(cell: Any) -> int:
    return max((cell_len(line) for line in str(cell).splitlines()), default=0)
