"""What Ray's errors say about the attempts that they ended."""

from __future__ import annotations

from ray.exceptions import ActorDiedError, NodeDiedError, RayError

from orchestrator.backends.base import Lost

HUNG = Lost("it no longer moved, and was ended", "hung")
BESIDE_HUNG = Lost("its process was ended because a stage beside it hung", "node")


def lost_by(error: RayError) -> Lost:
    """The loss of an attempt whose process died, alone or with its machine."""
    with_node = isinstance(error, NodeDiedError) or (isinstance(error, ActorDiedError) and _with_its_node(error))
    return Lost(f"{type(error).__name__}: {first_line(error)}", "node" if with_node else "process")


def _with_its_node(error: ActorDiedError) -> bool:
    return error.preempted or "node was dead" in str(error) or "node has died" in str(error)


def first_line(error: RayError) -> str:
    """The error's first line, for users."""
    return str(error).splitlines()[0] if str(error) else "no message"
