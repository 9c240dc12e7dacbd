"""Run a module in a fresh process, and measure its time and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Linux counts the memory of the process that starts another to the other's peak: this one is small
_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
command = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(command.pid, 0)
wall_s = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


@dataclass(frozen=True)
class Used:
    """What a process took: seconds of the clock, seconds of the processor, and its peak memory."""

    wall_s: float
    processor_s: float
    peak_bytes: int


def launch(module: Sequence[str], env: Mapping[str, str] | None = None) -> Used:
    """Run a module with arguments, with variables added to the environment.

    Raises:
        RuntimeError: the module ended with another exit code than 0; the message has what it printed.
    """
    words = [sys.executable, "-I", "-c", _LAUNCHER, sys.executable, "-m", *module]
    launched = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=True)
    exit_code, wall_s, processor_s, peak = json.loads(launched.stdout)
    if exit_code:
        raise RuntimeError(f"python -m {' '.join(module)} ended with exit code {exit_code}:\n{launched.stderr}")
    return Used(wall_s, processor_s, peak * (1 if sys.platform == "darwin" else 1024))
