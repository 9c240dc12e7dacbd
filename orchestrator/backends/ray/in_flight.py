"""A group of attempts that was submitted to Ray."""

from __future__ import annotations

from dataclasses import dataclass

from ray.exceptions import RayError

from orchestrator.backends.base import Group, Lost
from orchestrator.backends.ray.errors import BESIDE_HUNG, HUNG, lost_by
from orchestrator.backends.ray.gang import RayGang
from orchestrator.backends.ray.gpus import Gpu


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
        """The loss of its attempts to an error of Ray."""
        if self.ended:
            return HUNG
        if isinstance(self.place, Gpu) and self.place.killed:
            return BESIDE_HUNG
        return lost_by(error)
