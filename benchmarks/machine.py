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
