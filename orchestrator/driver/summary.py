"""How a sweep ended."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from orchestrator.scheduling.queue import FINISHED, State
from orchestrator.store import Store
from orchestrator.store.record import Failure
from orchestrator.terminal.units import duration
from workers.terminal.console import Console


@dataclass
class Summary:
    """How a sweep ended.

    Attributes:
        failures: in the order in which they happened; the first is the one to look at.
    """

    states: Counter[State]
    seconds: float
    interrupted: bool
    failures: list[Failure] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """How many stages are in the store now."""
        return sum(self.states[state] for state in FINISHED)

    @property
    def exit_code(self) -> int:
        """0 when all is done, 130 after an interruption, 1 when something failed."""
        if self.finished == self.states.total():
            return 0
        return 130 if self.interrupted else 1


LOG_LINES = 12


def print_summary(console: Console, store: Store, summary: Summary) -> None:
    """How many stages ended how, and the failures: the first one first, with the end of its log."""
    states = summary.states
    parts = [f"{states[state]} {state.value}" for state in State if states[state]]
    console.print(
        f"{summary.finished} of {states.total()} stages finished in {duration(summary.seconds)} ({', '.join(parts)}).",
        highlight=False,
    )
    if summary.failures:
        table = Table("failed stage", "error", "log", title="First failure first", title_justify="left", box=None)
        for failure in summary.failures:
            text = f"{failure.error_type}: {failure.message}"
            table.add_row(escape(failure.name), escape(text), escape(f"{store.root}/{failure.log}"))
        console.print(table)
        first = summary.failures[0].log
        with suppress(OSError):  # it may have died before it wrote a line
            lines = store.storage.read(first).decode(errors="replace").splitlines()[-LOG_LINES:]
            console.print(f"Last lines of {store.root}/{first}:", highlight=False, soft_wrap=True)
            console.print("\n".join(lines), markup=False, highlight=False)
