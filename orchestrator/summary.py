"""How a sweep ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from orchestrator.queue import FINISHED, State
from orchestrator.record import Failure


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
