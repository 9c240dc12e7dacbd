"""The processor of this machine, whose vector instructions decide the last digits of a result."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

CPU_FACTS = Path("/proc/cpuinfo")
_BFLOAT16_ON_CPU = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # not public: not in every version of torch


@cache
def processor() -> str:
    """The CPU's model and the instruction set that torch uses on it, such as "Intel(R) Xeon(R) 8488C, AVX512"."""
    return f"{_model(CPU_FACTS)}, {torch.backends.cpu.get_cpu_capability()}"


def native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bfloat16 faster than in float32, instead of emulating it.

    GPUs with CUDA do from compute capability 8.0 on, and CPUs with AMX or AVX512-BF16.
    """
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return any(supported() for name in _BFLOAT16_ON_CPU if (supported := getattr(torch.cpu, name, None)))


def _model(facts: Path) -> str:
    with suppress(OSError):  # Linux only
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine()
