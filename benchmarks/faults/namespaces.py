"""Give a process its own small disk, network or host name, without root."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

# of clone(2)
NEW_MOUNTS, NEW_HOST_NAME, NEW_USER, NEW_NETWORK = 0x00020000, 0x04000000, 0x10000000, 0x40000000
NAMES = {"user": NEW_USER, "net": NEW_NETWORK}


def mount_small_disk(folder: Path, size: str = "8m") -> None:
    """Mount a small disk that only this process sees.

    Raises:
        OSError: this machine does not allow namespaces.
    """
    libc = _set_apart(NEW_MOUNTS)
    folder.mkdir()
    _check(libc.mount(b"none", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()))


def take_host_name(name: str) -> None:
    """Change the host name that this process sees.

    Raises:
        OSError: this machine does not allow namespaces.
    """
    _set_apart(NEW_HOST_NAME)
    socket.sethostname(name)


def _set_apart(what: int) -> ctypes.CDLL:
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(NEW_USER | what))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return libc


def join_network(pid: int) -> None:
    """Move this process, which must have one thread, into the network of another process.

    Raises:
        OSError: the other process is gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), kind) for name, kind in NAMES.items()]
    for space, kind in found:  # open all of them first: after entering one, the others cannot be opened
        _check(libc.setns(space, kind))
        os.close(space)


def _check(returned: int) -> None:
    if returned:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
