"""When the report is written while a sweep runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.session import companion
from orchestrator.session.companion import INTERVAL_S, SHARE
from orchestrator.session.live_report import LiveReport
from orchestrator.store import Store
from workers.terminal.console import Console


def test_the_report_starts_once_per_interval_and_takes_a_small_share_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Process] = []
    now_s, children_s = [1000.0], [50.0]

    class Process:
        over: int | None = None
        took_s = 0.0

        def __init__(self, *_: object, **options: object) -> None:
            begun.append(self)

        def poll(self) -> int | None:
            if self.over is not None:
                children_s[0] += self.took_s
                self.took_s = 0.0
            return self.over

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(os, "times", lambda: os.times_result((0, 0, children_s[0], 0, 0)))
    monkeypatch.setattr(companion, "usable_cores", lambda: 2)
    long_s = 2 * INTERVAL_S * 2 * SHARE  # of processor time: the next start is due after two intervals
    report = LiveReport(Store(str(tmp_path / "store")))
    for after_s, over, took_s, expected in (
        (0, None, 0.0, 1),
        (1, 0, 0.1, 1),
        (INTERVAL_S, 0, 0.0, 2),
        (INTERVAL_S, None, 0.0, 2),  # that one is still being written
        (0, 0, long_s / 2, 3),
        (1, 0, long_s, 3),
        (INTERVAL_S, 0, 0.0, 3),
        (INTERVAL_S, 0, 0.0, 4),
    ):
        now_s[0] += after_s
        if begun:
            begun[-1].over, begun[-1].took_s = over, took_s
        report.refresh()
        assert len(begun) == expected


def written(store: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> tuple[bool, str]:
    """What the end of a sweep says where this program renders the report."""
    report, said = LiveReport(Store(store)), io.StringIO()
    monkeypatch.setattr(report.companion, "command", [sys.executable, "-c", program])
    return report.write(Console(file=said, width=500)), said.getvalue()


def test_a_report_that_was_not_written_is_an_error_and_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = (
        "import sys; print('Warning: of a library\\nError: report.html: is a directory', file=sys.stderr); sys.exit(2)"
    )
    assert written(tmp_path, monkeypatch, failing) == (False, "")
    assert capsys.readouterr().err == (
        f"Error: the report could not be written: report.html: is a directory; mend this, then: winning-sign report "
        f"{tmp_path}\n"
    )
    silent = "raise SystemExit(9)"
    assert written(tmp_path, monkeypatch, silent) == (False, "")
    assert "could not be written: exit code 9" in capsys.readouterr().err


def test_a_folder_in_the_place_of_the_report_is_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()
    store = Store(tmp_path)
    store.retry_failures(pytest.fail)  # waiting would not make it a file
    assert not LiveReport(store).write(Console(file=io.StringIO()))
    assert "Error: the report could not be written" in capsys.readouterr().err


def test_a_report_in_brackets_is_named_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "p[x]" / "w[/b]"
    assert written(place, monkeypatch, "") == (True, f"Report: {place}/report.html\n")
    assert written(place, monkeypatch, "raise SystemExit('rendered twice')")[0] is False  # no file was there
