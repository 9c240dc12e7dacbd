"""Whether this process can still use its GPU.

Before torch 2.13, a capture of a CUDA graph that fails leaves the memory pool and the generator in the state of a
capture (pytorch#180395): later stages would fail one after another.
"""

from __future__ import annotations

import threading

import torch
from torch.torch_version import TorchVersion

FAILED_CAPTURES_SPOIL = TorchVersion(torch.__version__) < "2.13"
_spoiled = threading.Event()


def capture_failed() -> None:
    """Note that a capture has failed."""
    if FAILED_CAPTURES_SPOIL:
        _spoiled.set()


def spoiled() -> bool:
    """Whether no further stage may start in this process."""
    return _spoiled.is_set()
