"""What to do about a failed attempt: a pure function of the facts.

Four causes, four budgets. A preempted stage is tried for ever while its checkpoints advance, because losing machines is
normal; a crash might be the machine's fault or the stage's; what is transient passes; and what a stage raises itself it
would raise again.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.store.record import Cause

BUDGET = {Cause.PREEMPTION: 5, Cause.CRASH: 3, Cause.TRANSIENT: 2, Cause.APPLICATION: 0}
"""How often an attempt of a stage is repeated, by cause; for a preemption, without any progress in between."""
PAUSE_S = {Cause.TRANSIENT: (10.0, 60.0)}
"""How long to wait before the next attempt, by cause and by how many were before."""

LIKE_A_CRASH = ("OutOfMemoryError", "MemoryError", "RanksDisagreeError")
"""What a stage raises and may not raise again: it had less memory than it might, or ranks that read different files."""
LIKE_A_CRASH_BY_WORDS = r"DataLoader worker \(pid|\[enforce fail at .*DefaultCPUAllocator: can't allocate memory"
"""How torch's words begin where its error is a plain RuntimeError: a process that decodes images was killed, as the
kernel does where memory is short, or the host had no memory left."""
TRANSIENT = (
    (r"AcceleratorError|RuntimeError", r"CUDA driver initialization failed|initialization error|busy or unavailable"),
    (r"RuntimeError|DistBackendError|DistStoreError|DistNetworkError", r"NCCL|Socket Timeout|Connection reset|[Gg]loo"),
    (r"StorageError", r""),
    (
        r"OSError|StoreError|SafetensorError|ArrowIOError",
        r"No space left|Input/output error|Stale file handle|not written whole|Connection",
    ),
)
"""Error types and messages that are known to pass."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended.

    Attributes:
        how: "raised": the stage did; "process", "node": that died; "hung": it was ended because it no longer moved;
            "drained": it checkpointed because its machine was about to go.
        advanced: whether the stage has a further checkpoint than after the attempt before.
    """

    how: Literal["raised", "process", "node", "hung", "drained"]
    error_type: str = ""
    message: str = ""
    advanced: bool = False


@dataclass
class History:
    """The bad ends of a stage's attempts in this sweep, by cause; preemptions since it last advanced."""

    ends: Counter[Cause] = field(default_factory=Counter)

    def add(self, cause: Cause, advanced: bool) -> None:
        """One more."""
        if cause is Cause.PREEMPTION and advanced:
            self.ends[cause] = 0
        else:
            self.ends[cause] += 1


@dataclass(frozen=True)
class Decision:
    """Whether to try again, and when."""

    cause: Cause
    retry: bool
    reason: str
    pause_s: float = 0.0


def cause_of(ended: Ended) -> Cause:
    """Why an attempt ended badly."""
    if ended.how in ("node", "drained"):
        return Cause.PREEMPTION
    if ended.how in ("process", "hung") or ended.error_type in LIKE_A_CRASH:
        return Cause.CRASH
    if re.match(LIKE_A_CRASH_BY_WORDS, ended.message):
        return Cause.CRASH
    for types, messages in TRANSIENT:
        if re.fullmatch(types, ended.error_type) and re.search(messages, ended.message):
            return Cause.TRANSIENT
    return Cause.APPLICATION


def classify(ended: Ended, history: History) -> Decision:
    """The decision on an attempt that ended badly, after the stage's earlier ones."""
    cause = cause_of(ended)
    earlier, budget = history.ends[cause], BUDGET[cause]
    if cause is Cause.PREEMPTION and ended.advanced:
        return Decision(cause, True, f"{cause}: it had advanced, and goes on")
    if earlier < budget:
        pauses = PAUSE_S.get(cause, (0.0,))
        return Decision(cause, True, f"{cause}: retry {earlier + 1} of {budget}", pauses[min(earlier, len(pauses) - 1)])
    return Decision(cause, False, f"{cause}: no retry left" if budget else f"{cause}: the same would happen again")
