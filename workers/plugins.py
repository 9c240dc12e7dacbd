"""A user's own data sets, architectures, criteria, transfers and probes: Python that registers them when imported.

It is a file or a module that ``--plugin`` names, or a module that an installed distribution names as an entry point of
the group ``winning_sign.plugins``; the latter are always there. docs/extending.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from tickets.files import digest
from workers.terminal.console import visible

GROUP = "winning_sign.plugins"
_LOADING = threading.RLock()
log = logging.getLogger("winning_sign")


class PluginError(ValueError):
    """A plugin that cannot be imported."""


def load_plugins(plugins: Iterable[str]) -> None:
    """Import what is installed and each of these plugins, once per process.

    What is installed and fails is a warning: whoever asked for something else goes on, and what it would have
    registered is an unknown name.

    Args:
        plugins: paths that end in .py, or modules' names.

    Raises:
        PluginError: one of them does not exist, or fails while it is imported.
    """
    for point in _installed():
        try:
            point.load()
        except Exception as error:  # anybody's package may raise anything
            name = f"{point.dist.name} {point.dist.version}" if point.dist else "a distribution"
            said = f"{name}: its plugin {point.value} cannot be imported: {type(error).__name__}: {error}"
            log.warning("%s", visible(f"{said}; update or uninstall it, or do without what it registers"))
    for plugin in plugins:
        try:
            if plugin.endswith(".py"):
                with _LOADING:  # stages that share a process need it whole, not begun
                    _load_file(Path(plugin))
            else:
                importlib.import_module(plugin)
        except Exception as error:  # a user's file may raise anything
            raise PluginError(f"--plugin {plugin}: {type(error).__name__}: {error}") from error


@cache
def _installed() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _load_file(path: Path) -> None:
    name = f"winning_sign_plugin_{digest.of_text(str(path.absolute()), size_bytes=8)}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
