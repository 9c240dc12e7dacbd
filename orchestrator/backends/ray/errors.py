"""What an error of Ray's says of the attempts that it ended."""

from __future__ import annotations

from ray.exceptions import ActorDiedError, NodeDiedError, RayError

from orchestrator.backends.base import Lost

HUNG = Lost("it no longer moved, and was ended", "hung")
BESIDE_HUNG = Lost("its process was ended because a stage beside it hung", "node")


def lost_by(error: RayError) -> Lost:
    """The attempt's process died, alone or with its machine."""
    with_node = isinstance(error, NodeDiedError) or (isinstance(error, ActorDiedError) and _with_its_node(error))
    return Lost(f"{type(error).__name__}: {first_line(error)}", "node" if with_node else "process")


def _with_its_node(error: ActorDiedError) -> bool:
    return error.preempted or "node was dead" in str(error) or "node has died" in str(error)


def first_line(error: RayError) -> str:
    """What the user is told of it."""
    return str(error).splitlines()[0] if str(error) else "no message"
