"""Describe the machine of a measurement."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import torch

from workers.devices.processor import processor


def describe_machine() -> str:
    """Describe processor, cores, GPU and relevant package versions in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "pyarrow", "numpy"))
    return f"{processor()}, {os.cpu_count()} cores, {device}; Python {platform.python_version()}, {packages}"


def find_device() -> torch.device:
    """Return the GPU, or the CPU with one thread as workers use it, and print the machine."""
    torch.set_num_threads(1)
    print(describe_machine())
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    print("no GPU here: measured on the CPU")
    return torch.device("cpu")
