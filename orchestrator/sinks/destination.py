"""A sink as the command line names it: ``TOOL`` or ``TOOL:PLACE``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from orchestrator.sinks.base import Sink, SinkError
from orchestrator.sinks.mlflow import MlflowSink
from orchestrator.sinks.tensorboard import TensorBoardSink
from orchestrator.sinks.wandb import WandbSink
from tickets.registry import unknown

SINKS: dict[str, type[Sink]] = {"tensorboard": TensorBoardSink, "mlflow": MlflowSink, "wandb": WandbSink}
"""By name, which is also the name of the extra that installs the tool."""


@dataclass(frozen=True)
class Destination:
    """A tool, and the place that the user gave it."""

    tool: str
    place: str | None

    def __str__(self) -> str:
        place = self.place or SINKS[self.tool].default_place
        return f"{self.tool}:{place}" if place else self.tool

    def open(self) -> Sink:
        """Open the sink; raises whatever its tool raises."""
        return SINKS[self.tool](self.place)


def parse_destinations(texts: Sequence[str]) -> list[Destination]:
    """Read what ``--log-to`` or ``--to`` names.

    Raises:
        SinkError: a tool is unknown, stands twice or is not installed, or its place cannot be one.
    """
    destinations = [_parse(text) for text in texts]
    names = [str(each) for each in destinations]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SinkError(f"{twice[0]} stands twice; name it once")
    return destinations


def _parse(text: str) -> Destination:
    tool, colon, place = text.partition(":")
    if tool not in SINKS:
        raise SinkError(unknown("sink", tool, SINKS))
    if colon and not place:
        raise SinkError(f"{text}: nothing follows the colon; give {tool} alone, or {tool}:PLACE")
    missing = [package for package in SINKS[tool].packages if find_spec(package) is None]
    if missing:
        raise SinkError(f"{tool} needs {missing[0]}, which is not installed: pip install 'winning-sign[{tool}]'")
    if checked := place or SINKS[tool].default_place:
        SINKS[tool].check(checked)
    return Destination(tool, place or None)
