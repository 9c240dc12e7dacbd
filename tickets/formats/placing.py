"""Files and folders put in place in one step, so that nobody ever finds half of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from tickets.errors import TicketError
from tickets.files.writing import beside


def placed(path: Path, make: Callable[[Path], object], *, force: bool = False) -> None:
    """Make a file or a folder of files under a passing name beside its place, and rename it.

    Args:
        make: makes it at the path that it is given, whose name ends as the final one's.
        force: whether to replace what is there: a file by a file, a folder by one with the same names in it.

    Raises:
        TicketError: the path is taken, or cannot be written; it is then as it was.
    """
    if not path.parent.is_dir():
        raise TicketError(f"{path.parent}: there is no such folder to write to; make it first")
    if path.exists() and not force:
        raise TicketError(f"{path} is there already; give another name, or --force to replace it")
    made = beside(path)
    try:
        make(made)
        if path.is_dir():
            _replace_folder(path, made)
        elif path.exists() and made.is_dir():
            raise TicketError(f"{path} is a file, and a folder does not replace it; give another name")
        else:
            made.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own for a full disk
        raise TicketError(f"{path} cannot be written: {error}") from error
    finally:
        _remove(made)


def _replace_folder(path: Path, made: Path) -> None:
    names = {each.name for each in made.iterdir()} if made.is_dir() else set()
    others = sorted(each.name for each in path.iterdir() if each.name not in names)
    if others:
        raise TicketError(f"{path} holds {others[0]}, which would be lost; give another name")
    aside = made.with_name(f"{made.name}.old")
    path.rename(aside)
    made.rename(path)
    shutil.rmtree(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
