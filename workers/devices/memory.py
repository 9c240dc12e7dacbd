"""Memory of a stage: its peak, what it keeps while it runs, and how many stages share its process."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from workers.devices.health import spoiled

PROCESS = Path("/proc/self")
_NO_MEMORY = re.compile(r"CU(BLAS|DNN|SPARSE|SOLVER)_STATUS_\w*ALLOC_FAILED|CUDA( driver)? error: out of memory")
_LOCK = threading.Lock()
_running: list[Sharing] = []


# of glibc's <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MOST = 2**31 - 1
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _MOST}
# what glibc arrives at by itself after the first large tensor; setting a value ends its own rule
_GIVE_BACK = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """On a CPU, keep freed memory for the next tensors during the block, and give it back to the system at its end.

    By itself glibc gives back the memory of a large tensor as soon as that is freed, and the system clears every page
    again for the next one: 7 % of the time of a step of ResNet-20, 15 % of one of MobileNetV2. The peak is the same.
    Other C libraries are left as they are.
    """
    libc = ctypes.CDLL(None) if device.type == "cpu" and sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    for name, value in _KEEP.items():
        libc.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _GIVE_BACK.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, cuBLAS or cuDNN says that a GPU has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None
    )


class PeakMemory:
    """Peak memory since this object was created.

    On a GPU: the memory that torch reserved, for all stages of the process together. On a CPU: the resident set of the
    process, on Linux only.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._measured = device, True
        if device.type == "cuda":
            if not spoiled():  # then torch could not empty its cache
                torch.cuda.empty_cache()  # memory that earlier stages left cached is not this stage's
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            (PROCESS / "clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
        except OSError:
            self._measured = False

    def read(self) -> int | None:
        """Bytes, or None if the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device)  # graphs keep more than is allocated
        peak = (
            re.search(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text(encoding="utf-8"))
            if self._measured
            else None
        )
        return int(peak[1]) * 1024 if peak else None


@dataclass(eq=False)
class Sharing:
    """The largest number of other stages that ran beside a stage at any moment of its run."""

    peak_stages_beside: int = 0


@contextmanager
def shared_process(device: torch.device) -> Iterator[Sharing]:
    """Count the stages that run in this process during the block; one that starts alone frees what others left."""
    sharing = Sharing()
    with _LOCK:
        if device.type == "cuda" and not _running and not spoiled():
            _free_workspaces()  # under the lock: a stage that starts now might capture their addresses in a graph
        _running.append(sharing)
        for each in _running:
            each.peak_stages_beside = max(each.peak_stages_beside, len(_running) - 1)
    try:
        yield sharing
    finally:
        with _LOCK:
            _running.remove(sharing)


def _free_workspaces() -> None:
    """Free cuBLAS's workspaces: 32 MiB for every pair of a thread and a stream that has used it."""
    free = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)  # not public, and so not in every version
    if free is not None:
        free()
