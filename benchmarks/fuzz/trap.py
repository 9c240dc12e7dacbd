"""Watch a process from inside: what it starts, unpickles, connects to, and writes outside its folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = ("git", "ldconfig", "uname")
"""Programs that a command may start: git for the provenance; the others by Python's own libraries."""
NOWHERE = ("/dev/null", "/dev/tty", "/proc/self/clear_refs")
"""Files elsewhere that a command may write: the last one resets its own peak of memory."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (0, 1)}
"""Audit events that change a file system, and the positions of their paths."""
CHANGES |= {"os.symlink": (1,), "os.chmod": (0,), "os.truncate": (0,), "shutil.rmtree": (0,), "os.chown": (0,)}


def set_trap(inside: Path, tell: Callable[[str], None]) -> None:
    """Call ``tell`` with a sentence for each forbidden act of this process, from now on and for ever.

    Args:
        inside: the only folder in which the process may change files, with links resolved.
    """
    root = f"{os.path.realpath(inside)}/"
    sys.dont_write_bytecode = True  # a module that is imported from now on writes nothing beside its source

    def check_place(path: Any, act: str) -> None:
        if isinstance(path, int) or path is None:
            return
        text = os.fsdecode(path)
        # the last part is resolved too: opening a link writes where it leads
        real = os.path.realpath(text) if act == "open" else os.path.realpath(os.path.dirname(text) or ".")  # noqa: PTH120
        if not f"{real}/".startswith(root) and text not in NOWHERE:
            tell(f"outside: {act} {text}")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING:
                check_place(path, event)
        elif event in CHANGES:
            for position in CHANGES[event]:
                check_place(arguments[position], event)
        elif event == "subprocess.Popen":
            if os.path.basename(os.fsdecode(arguments[0])) not in PROGRAMS:  # noqa: PTH119
                tell(f"executed: {arguments[:2]}")
        elif event in ("os.system", "pickle.find_class"):
            tell(f"executed: {event} {arguments}")
        elif event == "socket.connect":
            address = arguments[1]
            if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
                tell(f"outside: connected to {address}")

    sys.addaudithook(watch)
