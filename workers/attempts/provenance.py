"""What a record tells of the machine that made it."""

from __future__ import annotations

import platform
import socket
from collections.abc import Collection
from typing import Any

import torch

from workers.devices.processor import processor
from workers.stages.execution import Execution


def machine(execution: Execution, nondeterministic: Collection[str] = ()) -> dict[str, Any]:
    """Provenance that only the worker knows: device, processor, host, torch, and what changes rounding.

    Args:
        nondeterministic: operations that ran without a deterministic kernel.
    """
    device = execution.torch_device
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu ({platform.machine()})",
        "processor": processor(),
        "host": socket.gethostname(),
        "torch": torch.__version__,
        "deterministic": (execution.deterministic or not cuda) and not nondeterministic,
        **({"nondeterministic_operations": sorted(nondeterministic)} if nondeterministic else {}),
        "streamed_images_by": "gpu" if cuda and execution.loader_workers is None else "pil",
    }
