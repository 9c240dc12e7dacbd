"""When the report is written while a sweep runs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from orchestrator.session.live_report import INTERVAL_S, LiveReport
from orchestrator.store import Store


def test_the_report_starts_once_per_interval_and_never_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Process] = []
    now_s = [1000.0]

    class Process:
        over: int | None = None

        def __init__(self, *_: object, **options: object) -> None:
            begun.append(self)

        def poll(self) -> int | None:
            return self.over

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    report = LiveReport(Store(str(tmp_path / "store")))
    for after_s, over, expected in (
        (0, None, 1),
        (1, 0, 1),
        (INTERVAL_S, 0, 2),
        (INTERVAL_S, None, 2),  # that one is still being written
        (0, 0, 3),
    ):
        now_s[0] += after_s
        if begun:
            begun[-1].over = over
        report.refresh()
        assert len(begun) == expected
