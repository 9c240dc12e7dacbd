"""Mutations of what stands at a path: links, pipes, sockets, devices, folders, holes, names and permissions."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

HOLES = (1 << 20, 65 << 20, 3 << 30, 1 << 40)
"""Bytes of sparse files, which take no space."""
ODD_NAMES = ("a b", "-rf", ".hidden", "ünï", "a\nb", "\x1b[2Jx", "<b>x", "x" * 200, "²", "%s", "[red]x", "a'b", "~")


def link_outside(path: Path, draw: Random) -> str:
    """Put a link to a file or device outside in the file's place."""
    outside = _root(path) / "outside"
    elsewhere = map(Path, ("/dev/zero", "/etc/passwd", "/proc/self/environ", "/dev/null"))
    target = draw.choice([outside / "secret.txt", outside / "missing", *elsewhere])
    path.unlink()
    path.symlink_to(target)
    return f"a link to {target.name}"


def folder_outside(path: Path, draw: Random) -> str:
    """Move one of the file's folders in the store outside, and put a link to it there; elsewhere links are allowed."""
    root = _root(path)
    folders = [folder for folder in path.parents if root / "store" in folder.parents]
    if not folders:
        return link_outside(path, draw)
    folder = draw.choice(folders)
    moved = root / "outside" / f"moved-{len(list((root / 'outside').iterdir()))}"
    folder.rename(moved)
    folder.symlink_to(moved)
    return f"{folder.relative_to(root)} is a link to outside"


def link_inside(path: Path, draw: Random) -> str:
    """Put a link to another file, to itself, or to a folder above in the file's place."""
    others = sorted(other for other in path.parents[1].rglob("*") if other.is_file() and other != path)
    target = draw.choice([path, path.parent, path.parents[1], draw.choice(others or [path])])
    path.unlink()
    path.symlink_to(target)
    return f"a link to {target.name}"


def add_loop(path: Path, draw: Random) -> str:
    """Add links beside the file that lead around in circles."""
    folder = draw.choice([path.parent, path.parents[1]])
    (folder / "loop").symlink_to(draw.choice([folder, folder.parent, folder / "loop"]))
    (folder / "zz").symlink_to("loop/loop")
    return f"loops in {folder.name}"


def special(path: Path, draw: Random) -> str:
    """Put a pipe, a socket or a folder in the file's place, or a pipe beside it."""
    act = draw.choice(["pipe", "socket", "folder", "pipe beside"])
    if act == "pipe beside":
        os.mkfifo(path.with_name(f"zz{path.suffix}"))
        return act
    path.unlink()
    if act == "pipe":
        os.mkfifo(path)
    elif act == "folder":
        path.mkdir()
        (path / path.name).write_text("{}")
    else:
        here = os.open(".", os.O_RDONLY)
        os.chdir(path.parent)  # a socket's path has at most 107 characters
        with suppress(OSError), socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
        os.chdir(here)
        os.close(here)
    return f"a {act}"


def hole(path: Path, draw: Random) -> str:
    """Put a sparse file there, or make the file longer by a hole."""
    size = draw.choice(HOLES)
    if draw.random() < 0.5:
        path.write_bytes(b"")
    with path.open("ab") as file:
        file.truncate(size)
    return f"a sparse file of {size} bytes"


def rename(path: Path, draw: Random) -> str:
    """Give the file or its folder an odd name."""
    victim = draw.choice([path, path.parent])
    if victim in (_root(path), _root(path) / "store"):
        victim = path
    name = draw.choice([*ODD_NAMES, os.fsdecode(b"\xe9")])
    with suppress(OSError):
        victim.rename(victim.with_name(name))
    return f"{victim.name} renamed to {name!r}"


def add_odd(path: Path, draw: Random) -> str:
    """Add a copy with an odd name, of the file or its folder."""
    folder = path.parent
    name = draw.choice([*ODD_NAMES, "1" * 200, "999999999", "0", "-1", "01", os.fsdecode(b"\xe9")])
    with suppress(OSError):
        if draw.random() < 0.5 or folder in (_root(path), _root(path) / "store"):
            shutil.copy2(path, folder / name)
        else:
            shutil.copytree(folder, folder.with_name(name), symlinks=True)
    return f"a copy named {name!r}"


def remove(path: Path, draw: Random) -> str:
    """Remove the file or its folder."""
    if draw.random() < 0.7 or path.parent in (_root(path), _root(path) / "store"):
        path.unlink()
        return "removed"
    shutil.rmtree(path.parent)
    return "its folder removed"


def close(path: Path, draw: Random) -> str:
    """Take permissions of the file or its folder away; root can read it nevertheless."""
    victim = draw.choice([path, path.parent])
    mode = draw.choice([0, 0o111, 0o444, 0o777, 0o4755])
    victim.chmod(mode)
    return f"{victim.name} has the mode {mode:o}"


def old(path: Path, draw: Random) -> str:
    """Give the file a time long ago or far ahead."""
    time_s = draw.choice([0, -(2**33), 2**34, 253402300800])
    with suppress(OSError):
        os.utime(path, (time_s, time_s))
    return f"changed at {time_s}"


def _root(path: Path) -> Path:
    """The trial's folder."""
    return next(folder for folder in path.parents if (folder / "outside").is_dir())


PLACES: tuple[Callable[[Path, Random], str], ...] = (
    *(link_outside, folder_outside, link_inside, add_loop, special, special, hole, rename, add_odd, remove, close, old),
)
