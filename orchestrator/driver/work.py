"""What a driver runs, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.driver.heartbeat import LEAST_LIMIT_S
from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import ReadyQueue
from workers.stages.execution import Execution


@dataclass(frozen=True)
class Work:
    """A plan and the state of its stages.

    Attributes:
        expected_s: seconds that a stage takes on devices of its own; None if unknown.
    """

    plan: Plan
    queue: ReadyQueue
    expected_s: Callable[[Node], float | None] = lambda node: None


@dataclass(frozen=True)
class Policies:
    """How stages run.

    Attributes:
        packing: how many stages share a GPU.
        max_concurrent: most stages at a time; None for as many as the devices allow.
        hang_limit_s: shortest silence after which a stage counts as hung.
    """

    execution: Execution
    packing: Packing = field(default_factory=lambda: Packing(None))
    max_concurrent: int | None = None
    hang_limit_s: float = LEAST_LIMIT_S
