"""Write files and folders beside their place, then rename them: a reader sees the whole or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from tickets.errors import TicketError
from tickets.files.writing import beside


def placed(path: Path, make: Callable[[Path], object], *, force: bool = False) -> None:
    """Write a file or a folder of files under a temporary name, and rename it.

    Args:
        make: writes to the path that it is given, which ends as the final name does.
        force: replace an existing file, or an existing folder that holds only files of the same names.

    Raises:
        TicketError: the path exists or cannot be written; it is then unchanged.
    """
    if not path.parent.is_dir():
        raise TicketError(f"{path.parent} is no folder; create it first")
    if path.exists() and not force:
        raise TicketError(f"{path} exists; give another name, or --force to replace it")
    temporary = beside(path)
    try:
        make(temporary)
        if path.is_dir():
            _replace_folder(path, temporary)
        elif path.exists() and temporary.is_dir():
            raise TicketError(f"{path} is a file, and a folder cannot replace it; give another name")
        else:
            temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own for a full disk
        raise TicketError(f"{path} cannot be written: {error}") from error
    finally:
        _remove(temporary)


def _replace_folder(path: Path, new: Path) -> None:
    names = {each.name for each in new.iterdir()} if new.is_dir() else set()
    lost = sorted(each.name for each in path.iterdir() if each.name not in names)
    if lost:
        raise TicketError(f"{path} holds {lost[0]}, which would be lost; give another name")
    old = new.with_name(f"{new.name}.old")
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
