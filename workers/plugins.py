"""Plugins: Python that registers a user's own data sets, architectures, criteria, transfers, probes and so on.

``--plugin`` names a file or a module. An installed distribution may name modules as entry points of the group
``winning_sign.plugins``, which every command imports. See docs/extending.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from tickets.files import digest
from tickets.files.home import expanded
from tickets.registry import loaded_together
from workers.terminal.console import visible

GROUP = "winning_sign.plugins"
MOVED = {"workers.criteria": "workers.pruning", "workers.probes": "workers.probing"}
"""Modules that plugins of earlier versions import: old name -> new name."""
_LOADING = threading.RLock()
log = logging.getLogger("winning_sign")


class PluginError(ValueError):
    """A plugin that cannot be imported."""


def fault(error: BaseException) -> str:
    """What a plugin raised, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def owner(function: Callable[..., object]) -> str:
    """The place of a plugin's function: its file and name."""
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    return f"{file or function.__module__}, {function.__qualname__}"


def load_plugins(plugins: Iterable[str]) -> None:
    """Import all installed plugins and the named ones, once per process.

    An installed plugin that fails is a warning, so that commands which do not need it still run; the names it would
    have registered are then unknown.

    Args:
        plugins: paths that end in .py, or names of modules.

    Raises:
        PluginError: a named plugin does not exist, fails while it is imported, or registers a name of another one.
    """
    _install_old_names()
    for point in _installed():
        try:
            _import(point.module)
        except (Exception, SystemExit) as error:  # a package may raise anything
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "a distribution"
            what = f"{package}: its plugin {point.value} cannot be imported: {fault(error)}"
            log.warning("%s", visible(f"{what}; update or uninstall it, or do without the names that it registers"))
    named = [*plugins]
    with loaded_together([point.module for point in _installed()] + [_module_name(plugin) for plugin in named]):
        for plugin in named:
            if not plugin:
                raise PluginError("--plugin '': give a file that ends in .py, or the name of a module")
            try:
                if plugin.endswith(".py"):
                    with _LOADING:  # stages that share a process must not use a half-imported plugin
                        _load_file(expanded(plugin))
                else:
                    _import(plugin)
            except (Exception, SystemExit) as error:  # a user's file may raise anything
                raise PluginError(f"--plugin {plugin}: {fault(error)}") from error


def _module_name(plugin: str) -> str:
    """The name under which a plugin is imported; a file's tells it from files of the same name elsewhere."""
    if not plugin.endswith(".py"):
        return plugin
    return f"winning_sign_plugin_{digest.of_text(str(expanded(plugin).absolute()), size_bytes=8)}"


@cache
def _installed() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _load_file(path: Path) -> None:
    name = _module_name(str(path))
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _import(module: str) -> None:
    """Import a module whose prints go to stderr: stdout is the command's, and may be read by a program."""
    if module not in sys.modules:
        with redirect_stdout(sys.stderr):
            importlib.import_module(module)


def _install_old_names() -> None:
    for old, new in MOVED.items():
        if old not in sys.modules:
            package, _, name = old.rpartition(".")
            sys.modules[old] = _MovedModule(old, new)
            setattr(importlib.import_module(package), name, sys.modules[old])


class _MovedModule(ModuleType):
    """An old name of a module: gives the new module's members, and logs the new name once."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(old)
        self._new, self._logged = new, False

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # asked by Python's own import machinery
            raise AttributeError(name)
        member = getattr(importlib.import_module(self._new), name)
        if not self._logged:
            self._logged = True
            log.warning("a plugin imports %s, which is now %s; change the import", self.__name__, self._new)
        return member
