"""What to do about a failed attempt: a pure function of the facts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why an attempt ended badly."""

    CRASH = "crash"
    """Its process or machine died: out of memory, killed, lost."""
    APPLICATION = "application"
    """The stage itself raised: the same attempt would raise again."""


BUDGET = {Cause.CRASH: 3, Cause.APPLICATION: 0}
"""How often an attempt of a stage is repeated, by cause."""


@dataclass(frozen=True)
class Decision:
    """Whether to try again."""

    retry: bool
    reason: str


def decide(cause: Cause, earlier: int) -> Decision:
    """The decision on an attempt that ended by ``cause``, after ``earlier`` such ends of the same stage."""
    budget = BUDGET[cause]
    if earlier < budget:
        return Decision(True, f"{cause}: attempt {earlier + 2} of {budget + 1}")
    return Decision(False, f"{cause}: no attempt left" if budget else f"{cause}: the same would happen again")
