"""Decides whether a failed attempt is repeated. Pure.

Four causes, four budgets. A preempted stage is repeated for ever while its checkpoints advance, because losing machines
is normal. A crash may be the machine's fault or the stage's. A transient error passes. An error that the stage itself
raised would come again.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.store.record import Cause

BUDGET = {Cause.PREEMPTION: 5, Cause.CRASH: 3, Cause.TRANSIENT: 2, Cause.APPLICATION: 0}
"""Repetitions of a stage's attempts, by cause; for preemption, only those without progress in between count."""
PAUSE_S = {Cause.TRANSIENT: (10.0, 60.0)}
"""Seconds before the next attempt, by cause and number of earlier ones."""

LIKE_A_CRASH = ("OutOfMemoryError", "MemoryError", "RanksDisagreeError")
"""Errors of a stage that may not come again: a lack of memory, or ranks that read different files."""
LIKE_A_CRASH_BY_WORDS = r"DataLoader worker \(pid|\[enforce fail at .*DefaultCPUAllocator: can't allocate memory"
"""Beginnings of torch's plain RuntimeErrors that mean a lack of memory: the kernel killed a process that decodes
images, or the host had none left."""
TRANSIENT = (
    (r"AcceleratorError|RuntimeError", r"CUDA driver initialization failed|initialization error|busy or unavailable"),
    (r"RuntimeError|DistBackendError|DistStoreError|DistNetworkError", r"NCCL|Socket Timeout|Connection reset|[Gg]loo"),
    (r"StorageError", r""),
    (
        r"OSError|StoreError|SafetensorError|ArrowIOError",
        r"No space left|Input/output error|Stale file handle|not written whole|Connection",
    ),
)
"""Types and messages of errors that are known to pass."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended.

    Attributes:
        how: "raised": the stage raised an error; "process", "node": that died; "hung": it was ended because it no
            longer moved; "drained": it checkpointed because its machine was about to go.
        advanced: whether the stage has a further checkpoint than at the attempt's start.
    """

    how: Literal["raised", "process", "node", "hung", "drained"]
    error_type: str = ""
    message: str = ""
    advanced: bool = False


@dataclass
class History:
    """Counts the bad ends of a stage's attempts in this sweep, by cause; preemptions since the stage last advanced."""

    ends: Counter[Cause] = field(default_factory=Counter)

    def add(self, cause: Cause, advanced: bool) -> None:
        """Count one more bad end."""
        self.ends[cause] = 0 if cause is Cause.PREEMPTION and advanced else self.ends[cause] + 1


@dataclass(frozen=True)
class Decision:
    """Whether to repeat a stage, and when."""

    cause: Cause
    retry: bool
    reason: str
    pause_s: float = 0.0


def cause_of(ended: Ended) -> Cause:
    """Classify a bad end by its cause."""
    if ended.how in ("node", "drained"):
        return Cause.PREEMPTION
    like_a_crash = ended.error_type in LIKE_A_CRASH or re.match(LIKE_A_CRASH_BY_WORDS, ended.message)
    if ended.how in ("process", "hung") or like_a_crash:
        return Cause.CRASH
    for types, messages in TRANSIENT:
        if re.fullmatch(types, ended.error_type) and re.search(messages, ended.message):
            return Cause.TRANSIENT
    return Cause.APPLICATION


def classify(ended: Ended, history: History) -> Decision:
    """Decide whether to repeat a stage whose attempt ended badly, given its earlier bad ends."""
    cause = cause_of(ended)
    earlier, budget = history.ends[cause], BUDGET[cause]
    if cause is Cause.PREEMPTION and ended.advanced:
        return Decision(cause, True, f"{cause}: it had made progress, and resumes")
    if earlier < budget:
        pauses = PAUSE_S.get(cause, (0.0,))
        return Decision(cause, True, f"{cause}: retry {earlier + 1} of {budget}", pauses[min(earlier, len(pauses) - 1)])
    return Decision(cause, False, f"{cause}: no retry left" if budget else f"{cause}: the same would happen again")
