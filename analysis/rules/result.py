"""The result of checking one rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

NAMED = 3
Verdict = Literal["holds", "broken", "not checked"]


class NotCheckedError(Exception):
    """An item cannot be checked; the message gives the reason, in the same words for all items of its kind."""


@dataclass
class RuleResult:
    """A rule, and the items that break it.

    Attributes:
        rule: a sentence in the method's terms.
        counted: number of items checked.
        broken: for each item that breaks the rule, its name and the violation.
        unchecked: reasons why items could not be checked, with the number of items each.
        notes: further remarks for the reader.
    """

    rule: str
    counted: int = 0
    broken: list[str] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, violation: str | None) -> None:
        """Count one checked item; None: it keeps the rule."""
        self.counted += 1
        if violation is not None:
            self.broken.append(f"{name}: {violation}")

    def check(self, name: str, find_violation: Callable[[], str | None]) -> None:
        """Check one item; count it as unchecked if ``find_violation`` raises ``NotCheckedError``."""
        try:
            self.add(name, find_violation())
        except NotCheckedError as reason:
            self.unchecked[str(reason)] += 1

    @property
    def verdict(self) -> Verdict:
        """Broken if any item is; "holds" needs at least one checked item."""
        if self.broken:
            return "broken"
        return "holds" if self.counted else "not checked"

    @property
    def detail(self) -> str:
        """The first items that break the rule; then how many were not checked, and why; then the notes."""
        parts = self.broken[:NAMED]
        if len(self.broken) > NAMED:
            parts = [*parts, f"and {len(self.broken) - NAMED} more"]
        parts += [f"{number} not checked: {reason}" for reason, number in self.unchecked.items()]
        if not self.counted and not parts:
            parts = ["the store has nothing of this kind yet"]
        return "; ".join([*parts, *self.notes])
