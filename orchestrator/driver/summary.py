"""Sums up how a sweep ended."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.scheduling.queue import FINISHED, State
from orchestrator.store import Store
from orchestrator.store.record import Failure
from orchestrator.terminal.units import duration
from workers.terminal.console import Console


@dataclass
class Summary:
    """How a sweep ended.

    Attributes:
        states: number of stages by their final state.
        interrupted: the sweep was asked to stop.
        failures: in the order in which they happened; read the first one first.
    """

    states: Counter[State]
    seconds: float
    interrupted: bool
    failures: list[Failure] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """Number of stages in the store."""
        return sum(self.states[state] for state in FINISHED)

    @property
    def exit_code(self) -> int:
        """0 if every stage is finished, 130 after an interruption, else 1."""
        if self.finished == self.states.total():
            return 0
        return 130 if self.interrupted else 1


LOG_LINES = 12


def print_summary(console: Console, store: Store, summary: Summary) -> None:
    """Print the number of stages by state, and the failures in their order, with the end of the first one's log."""
    states = summary.states
    parts = [f"{states[state]} {state.value}" for state in State if states[state]]
    console.print(
        f"{summary.finished} of {states.total()} stages finished in {duration(summary.seconds)} ({', '.join(parts)}).",
        highlight=False,
    )
    if summary.failures:
        console.print("First failure first:", highlight=False)
        for failure in summary.failures:
            text = f"{failure.name}  {failure.error_type}: {failure.message}\n  {store.root}/{failure.log}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        first = summary.failures[0].log
        with suppress(OSError):  # the attempt may have died before its first line
            lines = store.storage.read(first).decode(errors="replace").splitlines()[-LOG_LINES:]
            console.print(f"Last lines of {store.root}/{first}:", highlight=False, soft_wrap=True)
            console.print("\n".join(lines), markup=False, highlight=False)
