"""What a result was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import torch


def describe_machine() -> str:
    """One line: processor or GPU, cores, and the versions that matter."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "pyarrow", "numpy"))
    return f"{platform.machine()}, {os.cpu_count()} cores, {device}; Python {platform.python_version()}, {packages}"


def find_device() -> torch.device:
    """The GPU, or else the CPU with one thread, as workers use it; what it is goes to the output."""
    torch.set_num_threads(1)
    print(describe_machine())
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    print("no GPU here: measured on the CPU")
    return torch.device("cpu")
