"""A group of attempts that was submitted to Ray, and what Ray's errors say about its end."""

from __future__ import annotations

from dataclasses import dataclass

from ray.exceptions import ActorDiedError, NodeDiedError, RayError

from orchestrator.backends.base import Group, Lost
from orchestrator.backends.ray.gang import RayGang
from orchestrator.backends.ray.gpus import Gpu, first_line

HUNG = Lost("it no longer moved, and was ended", "hung")
BESIDE_HUNG = Lost("its process was ended because a stage beside it hung", "node")


@dataclass(eq=False)
class GroupInFlight:
    """A submitted group.

    Attributes:
        place: the GPU or gang that it runs on; None for a task.
        ended: it hung, and its processes were ended.
    """

    group: Group
    place: Gpu | RayGang | None
    ended: bool = False

    def lost_by(self, error: RayError) -> Lost:
        """The loss of its attempts to an error of Ray: their process died, alone or with its machine."""
        if self.ended:
            return HUNG
        if isinstance(self.place, Gpu) and self.place.killed:
            return BESIDE_HUNG
        with_node = isinstance(error, NodeDiedError) or (
            isinstance(error, ActorDiedError)
            and (error.preempted or "node was dead" in str(error) or "node has died" in str(error))
        )
        return Lost(f"{type(error).__name__}: {first_line(error)}", "node" if with_node else "process")
