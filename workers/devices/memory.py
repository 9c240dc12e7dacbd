"""The most memory that a stage held on its device."""

from __future__ import annotations

import re
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


class PeakMemory:
    """Measures from its creation on.

    On a GPU that is what torch reserved there, for all trainings of the process together; on a CPU the process's
    resident set, where Linux tells it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._known = device, True
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what earlier stages left behind is not this one's
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            (PROCESS / "clear_refs").write_text("5")  # forget the peak so far
        except OSError:
            self._known = False

    def read(self) -> int | None:
        """Bytes, or None where they cannot be known."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device)  # graphs keep more than is allocated
        found = re.search(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text()) if self._known else None
        return int(found[1]) * 1024 if found else None
