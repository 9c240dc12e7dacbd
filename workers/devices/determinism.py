"""Deterministic kernels, and operations for which torch has none: with ``warn_only``, torch runs them and warns."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WARNING = re.compile(r"(\S+) does not have a deterministic implementation")


def choose_kernels(deterministic: bool) -> None:
    """Let torch use deterministic kernels only, where it has any, on all GPUs of this process."""
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a kernel each
    torch.backends.cudnn.benchmark = not deterministic
    # with warn_only, this kernel's gradient of attention is not deterministic, and torch's warning of it is no other
    # operation's; without it, attention is flash attention (bfloat16) or plain products (float32)
    torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)


class _Collector(logging.Handler):
    """Collects the operations that one thread's warnings name; other threads run other stages."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = set[str]()
        thread = threading.get_ident()
        self.addFilter(lambda record: record.thread == thread)

    def emit(self, record: logging.LogRecord) -> None:
        if named := _WARNING.search(record.getMessage()):
            self.operations.add(named[1])


@contextmanager
def collect_nondeterministic() -> Iterator[set[str]]:
    """Collect the names of the operations that torch warns of in this thread during the block."""
    warnings.filterwarnings("always", f".*{_WARNING.pattern}")  # each stage, not the first of a process alone
    logging.captureWarnings(True)
    collector, logger = _Collector(), logging.getLogger("py.warnings")
    logger.addHandler(collector)
    try:
        yield collector.operations
    finally:
        logger.removeHandler(collector)
