"""A lack of memory on a GPU has many names; what earlier stages of a process left there is freed by the next."""

from __future__ import annotations

import platform
import resource
import threading

import pytest
import torch

from workers.attempts.attempt import _failed
from workers.devices import health
from workers.devices.memory import PROCESS, PeakMemory, keeping_freed_memory, out_of_memory, shared_process

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), False),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
    ids=str,
)
def test_out_of_memory(error: Exception, is_one: bool) -> None:
    assert out_of_memory(error) == is_one
    assert (_failed(error, 0.0).error_type == "OutOfMemoryError") == is_one


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was freed, in order."""
    freed: list[str] = []
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: freed.append("workspaces"), raising=False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("cache"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: freed.append("peak"))
    monkeypatch.setattr(health, "_spoiled", threading.Event())
    return freed


def test_a_stage_that_starts_alone_frees_what_earlier_ones_left(
    freed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with shared_process(GPU):
        PeakMemory(GPU)
        with shared_process(GPU):  # the first one's graphs hold the addresses of its workspaces
            assert freed == ["workspaces", "cache", "peak"]
    with shared_process(CPU):
        assert len(freed) == 3
    health._spoiled.set()
    with shared_process(GPU):
        PeakMemory(GPU)
    assert freed[3:] == ["peak"]
    health._spoiled.clear()
    monkeypatch.delattr(torch._C, "_cuda_clearCublasWorkspaces")
    with shared_process(GPU):
        assert len(freed) == 4


def resident_megabytes() -> float:
    pages = int((PROCESS / "statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks for glibc")
def test_a_stage_on_a_cpu_keeps_freed_memory_until_it_ends() -> None:
    def faults_of_a_tensor() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(16_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with keeping_freed_memory(torch.device("cpu")):
        faults = min(faults_of_a_tensor() for _ in range(6))  # the first ones extend the heap
        held = resident_megabytes()
    assert faults < 100  # of 15,625 pages
    assert resident_megabytes() < held - 50  # of 64 MB
