"""The processor of this machine, whose vector instructions decide the last digits of a result."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

CPU_FACTS = Path("/proc/cpuinfo")


@cache
def processor() -> str:
    """The CPU's model and the instruction set that torch uses on it, such as "Intel(R) Xeon(R) 8488C, AVX512"."""
    return f"{_model(CPU_FACTS)}, {torch.backends.cpu.get_cpu_capability()}"


def _model(facts: Path) -> str:
    with suppress(OSError):  # Linux only
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine()
