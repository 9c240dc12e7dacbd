"""What looking at one rule found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

NAMED = 3
Verdict = Literal["holds", "broken", "not checked"]


class NotLookedError(Exception):
    """Something that a rule is about cannot be looked at; the message is why, and the same for all of its kind."""


@dataclass
class Finding:
    """A rule, and what breaks it.

    Attributes:
        rule: a sentence in the method's words.
        counted: how many things were looked at.
        broken: each thing that breaks it: its name and how.
        unseen: why things could not be looked at, with how many.
        notes: what a reader should know besides.
    """

    rule: str
    counted: int = 0
    broken: list[str] = field(default_factory=list)
    unseen: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def look(self, name: str, fault: str | None) -> None:
        """Count one thing that was looked at, with what is wrong with it."""
        self.counted += 1
        if fault is not None:
            self.broken.append(f"{name}: {fault}")

    def ask(self, name: str, question: Callable[[], str | None]) -> None:
        """Count one thing; the question tells what is wrong with it, or raises ``NotLookedError``."""
        try:
            self.look(name, question())
        except NotLookedError as why:
            self.unseen[str(why)] += 1

    @property
    def verdict(self) -> Verdict:
        """It holds for what was looked at, which must be something."""
        if self.broken:
            return "broken"
        return "holds" if self.counted else "not checked"

    @property
    def detail(self) -> str:
        """The first that break it, by name; then what was not looked at, and why."""
        parts = self.broken[:NAMED]
        if len(self.broken) > NAMED:
            parts = [*parts, f"and {len(self.broken) - NAMED} more"]
        parts += [f"{number} not checked: {why}" for why, number in self.unseen.items()]
        if not self.counted and not parts:
            parts = ["there is nothing of this kind yet"]
        return "; ".join([*parts, *self.notes])
