"""A user's own data sets and architectures: Python files or modules that register them when imported."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

_LOADING = threading.RLock()


class PluginError(ValueError):
    """A plugin that cannot be imported."""


def load_plugins(plugins: Iterable[str]) -> None:
    """Import each plugin once per process: a path that ends in .py, or a module's name.

    Raises:
        PluginError: it does not exist, or fails while it is imported.
    """
    for plugin in plugins:
        try:
            if plugin.endswith(".py"):
                with _LOADING:  # stages that share a process need it whole, not begun
                    _load_file(Path(plugin))
            else:
                importlib.import_module(plugin)
        except Exception as error:  # a user's file may raise anything
            raise PluginError(f"--plugin {plugin}: {type(error).__name__}: {error}") from error


def _load_file(path: Path) -> None:
    digest = hashlib.blake2b(str(path.absolute()).encode(), digest_size=8).hexdigest()
    name = f"winning_sign_plugin_{digest}"
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
