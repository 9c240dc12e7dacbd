"""What every entry point checks first: that Python finds our packages and no others of their names.

``tickets``, ``workers``, ``analysis`` and ``orchestrator`` are common names. A folder or file of the user's, or another
installed package, can come first on ``sys.path`` and hide one of ours. Each of our packages imports this module, whose
name nothing else has.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

HOME = Path(__file__).resolve().parent
PACKAGES = ("tickets", "workers", "orchestrator", "analysis")
COLLECT_AFTER_OBJECTS = 100_000


class HiddenPackageError(ImportError):
    """Another file comes before one of our packages on Python's path."""


def check(package: str, needs: tuple[str, ...] = PACKAGES) -> None:
    """Complain where one of our packages is hidden from another.

    A command ends with exit code 2 and one sentence. An import raises if the package needs the hidden one, and warns
    otherwise: a script that only uses tickets may have an ``analysis`` folder beside it.

    Args:
        package: the package that is being imported.
        needs: packages that it cannot work without.

    Raises:
        HiddenPackageError: a needed package is hidden.
    """
    if _runs_a_command():
        _begin_command()
    for name in PACKAGES:
        if name == package or not (sentence := hidden(name)):
            continue
        if _runs_a_command():
            print(f"Error: {sentence}", file=sys.stderr)
            raise SystemExit(2)
        if name in needs:
            raise HiddenPackageError(sentence)
        warnings.warn(sentence, stacklevel=3)


def hidden(name: str, first: Path | None = None) -> str | None:
    """Return a sentence that says which file hides one of our packages; None if Python finds ours.

    Args:
        first: a folder that another process will search first, such as the current one for Ray's workers.
    """
    spec = _spec(name, first)
    file = _file(spec) if spec else None
    if file is None or file in (HOME / name, HOME / name / "__init__.py"):
        return None
    folder = file.parent.parent if file.name == "__init__.py" else file.parent
    if folder == Path.cwd():
        remedy = "rename it, or run from another folder"
    elif "site-packages" in folder.parts:
        remedy = "install winning-sign in a virtual environment of its own"
    else:
        remedy = f"rename it, or take {folder} off PYTHONPATH"
    shown = file.parent if file.name == "__init__.py" else file
    return f"{shown} hides Winning Sign's package {name!r}, which lies in {HOME}; {remedy}"


def main() -> None:
    """Run ``winning-sign``; the check comes first, for ``orchestrator`` itself may be hidden."""
    check("winning_sign")
    from orchestrator.__main__ import main as run

    run()


def _begin_command() -> None:
    """Let Ctrl-C end the imports quietly, and no text stop at an encoding that lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if default and threading.current_thread() is threading.main_thread() and _is_ours():
        # an interrupted import raises whatever it likes, or goes on
        signal.signal(signal.SIGINT, _exit_interrupted)


def begin_work() -> None:
    """Prepare a command's process, now that the command is imported: Ctrl-C raises KeyboardInterrupt again.

    Python also looks for garbage in cycles after ``COLLECT_AFTER_OBJECTS`` new objects instead of a few hundred:
    commands hold millions for as long as they run, and looking at them took a sixth of a report's time.
    """
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    if signal.getsignal(signal.SIGINT) is _exit_interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def without_collection() -> Iterator[None]:
    """Do not look for garbage in cycles meanwhile: while millions of objects are made that stay, it takes a sixth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _exit_interrupted(number: int, frame: FrameType | None) -> None:
    os._exit(130)


def _is_ours() -> bool:
    """Whether ``python -m`` names a module of ours, or this is a console script."""
    words = sys.orig_argv
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else "winning_sign"
    return module.partition(".")[0] in (*PACKAGES, "winning_sign")


def _spec(name: str, first: Path | None) -> ModuleSpec | None:
    if first is not None:
        return PathFinder.find_spec(name, [str(first), *sys.path])
    loaded = sys.modules.get(name)
    return loaded.__spec__ if loaded else find_spec(name)


def _file(spec: ModuleSpec) -> Path | None:
    """The file that would be imported; for a folder without ``__init__.py`` the folder."""
    if spec.has_location and spec.origin:
        return Path(spec.origin).resolve()
    return next((Path(path).resolve() for path in spec.submodule_search_locations or ()), None)


def _runs_a_command() -> bool:
    """Whether this is ``python -m …``, which still looks for its module, or a console script of ours."""
    program = next(iter(sys.argv), "")
    return program == "-m" or Path(program).name.startswith("winning-sign")
