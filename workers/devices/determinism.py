"""Operations for which torch has no deterministic kernel: with ``warn_only``, torch runs them and warns."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_WARNING = re.compile(r"(\S+) does not have a deterministic implementation")


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
