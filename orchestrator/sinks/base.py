"""What every sink has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from orchestrator.sinks.run import Run


class SinkError(ValueError):
    """A sink that cannot be used as asked; the message says what to do."""


class Sink(ABC):
    """Writes runs where a tool finds them. Its constructor takes the place, and may raise whatever the tool raises.

    Attributes:
        packages: that the tool needs, as they are imported.
        default_place: where runs go if the user names no place; None leaves it to the tool.
    """

    packages: ClassVar[tuple[str, ...]]
    default_place: ClassVar[str | None]

    @staticmethod
    @abstractmethod
    def check(place: str) -> None:
        """Raise SinkError if a place of the user's cannot be one. Imports no package and writes nothing."""

    @abstractmethod
    def __init__(self, place: str | None) -> None: ...

    @abstractmethod
    def logged(self) -> set[str]:
        """Keys of the stages that were written whole."""

    @abstractmethod
    def write(self, run: Run) -> None:
        """Write a run; an unfinished run of the same key, which a killed process left, is replaced."""
