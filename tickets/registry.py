"""Registries: what plugins add to by a decorator, and what recipes and options name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

OURS = ("tickets", "workers")
"""Packages whose names no plugin may take."""

_TOGETHER: ContextVar[frozenset[str]] = ContextVar("modules of plugins that one command names", default=frozenset())

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def loaded_together(modules: Iterable[str]) -> Iterator[None]:
    """Let none of these modules, the plugins of one command, register a name that another of them has registered."""
    token = _TOGETHER.set(frozenset(module.partition(".")[0] for module in modules))
    try:
        yield
    finally:
        _TOGETHER.reset(token)


class UnknownNameError(ValueError):
    """A name that is not registered, or is registered in another version; the message has the nearest names."""


@dataclass(frozen=True)
class Registered(Generic[F]):
    """A registered function; its author raises ``version`` when the results change."""

    name: str
    function: F
    version: int


RegisteredT = TypeVar("RegisteredT", bound=Registered[Any])


class Registry(dict[str, RegisteredT]):
    """Registered functions by name.

    Args:
        kind: the word for one of them in messages, such as "architecture".
        entry: makes an entry of a name, a function, a version and the decorator's other arguments.
    """

    def __init__(self, kind: str, entry: Callable[..., RegisteredT]) -> None:
        super().__init__()
        self.kind = kind
        self._entry = entry

    def register(self, name: str, *, version: int = 1, **details: Any) -> Callable[[F], F]:
        """Return a decorator that registers a function; a later function of the same name replaces an earlier one.

        The decorator raises ValueError if the name is built in, or registered by another of the plugins that are
        ``loaded_together``, since keys would not tell the two functions apart.
        """

        def decorator(function: F) -> F:
            owner = self[name].function.__module__ if name in self else function.__module__
            if owner != function.__module__ and owner.partition(".")[0] in OURS:
                raise ValueError(f"{self.kind} {name!r} is built in, by {owner}; choose another name")
            if owner != function.__module__ and owner.partition(".")[0] in _TOGETHER.get():
                file = getattr(sys.modules.get(owner), "__file__", None) or owner
                raise ValueError(f"{self.kind} {name!r} is registered by {file} too; leave one of the two plugins out")
            self[name] = self._entry(name, function, version, **details)
            return function

        return decorator

    def find(self, name: str, version: int) -> RegisteredT:
        """The entry of a name; UnknownNameError if the name is not registered in this version."""
        if name not in self:
            raise UnknownNameError(f"no {self.kind} {name} of version {version} is registered; {_hint(name, self)}")
        if self[name].version != version:
            raise UnknownNameError(
                f"no {self.kind} {name} of version {version} is registered, but version {self[name].version}; name the "
                f"--plugin that has version {version}"
            )
        return self[name]


def unknown(kind: str, name: str, known: Iterable[str], within: str = "", *, plugins: bool = False) -> str:
    """Say that a name is unknown, with the nearest known names.

    Args:
        within: a prefix of the name and of all known names, such as "optimizer.".
        plugins: whether a plugin may bring the name.
    """
    return f"unknown {kind} {within + name!r}; {_hint(name, known, within, plugins=plugins)}"


def _hint(name: str, known: Iterable[str], within: str = "", *, plugins: bool = True) -> str:
    names = sorted(known)
    if near := get_close_matches(name, names, n=3, cutoff=0.5) or [each for each in names if _initials(each) == name]:
        nearest = " or ".join(f"{within}{each}" for each in near)
        return f"did you mean {nearest}{', or is its --plugin missing' if plugins else ''}?"
    return f"{'name its --plugin, or one of' if plugins else 'known:'} {', '.join(names)}"


def _initials(name: str) -> str:
    """What people write for a long name: "lr" for a learning_rate."""
    return "".join(word[:1] for word in name.rpartition(".")[2].split("_"))
