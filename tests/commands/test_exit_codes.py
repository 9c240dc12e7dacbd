"""Exit codes of every sub-command: 0, 1 if something failed, 2 for bad input, 130 after Ctrl-C; never a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from analysis import report
from orchestrator.__main__ import SUB_COMMANDS, app
from tests.orchestrator.store.stores import SmallStore, planned_stage
from winning_sign import HOME
from workers.storage import Folder

NAME = "mnist1d/resnet1d/lrr/chain1/round01"
BAD: dict[str, list[str]] = {
    "sweep": ["--datasets", "mnist2d", "--backend", "inline"],
    "search": ["--dataset", "mnist2d"],
    "landscape": ["none", "a", "b", "c"],
    "run": ["none.json", "--out", "out"],
    "status": ["none"],
    "why": ["none", NAME],
    "logs": ["none", NAME],
    "export": ["none", "--to", "tensorboard"],
    "report": ["none"],
    "serve": ["none", "--published", "none.csv"],
    "judge": ["none"],
    "checks": ["none"],
    "tickets": ["show", "none.parquet"],
    "cancel": ["none"],
    "verify": ["none"],
    "gc": ["none"],
    "unlock": ["none", "--stale"],
    "spot-notice": ["azure"],
}
GOOD: dict[str, list[str]] = {
    "status": ["store"],
    "why": ["store", NAME],
    "export": ["store", "--to", "tensorboard"],
    "report": ["store"],
    "judge": ["store"],
    "checks": ["store"],
    "cancel": ["store"],
    "verify": ["store"],
    "gc": ["store"],
    "unlock": ["store", "--stale"],
}


def winning_sign(*words: str) -> Result:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "500"}, prog_name="winning-sign")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    store, stage = SmallStore(tmp_path / "store"), planned_stage(NAME, "round")
    store.plan(stage)
    store.commit(stage)
    return store


def test_no_command_is_forgotten() -> None:
    assert BAD.keys() == SUB_COMMANDS.keys()


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_2(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert winning_sign(name, *BAD[name]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.usefixtures("store")
def test_a_success_is_0(name: str) -> None:
    assert winning_sign(name, *GOOD[name]).exit_code == 0


@pytest.mark.usefixtures("store")
def test_a_broken_store_is_1(tmp_path: Path) -> None:
    next((tmp_path / "store").glob("stages/*/*/record.json")).write_text("{}")
    assert winning_sign("verify", "store").exit_code == 1
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    assert winning_sign("tickets", "verify", "damaged.parquet").exit_code == 1


@pytest.mark.usefixtures("store")
def test_a_full_disk_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "report.html")

    monkeypatch.setattr(report, "replacing", full)
    result = winning_sign("report", "store")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: report.html: no space left on device\n"


@pytest.mark.parametrize("module", ["orchestrator.status", "orchestrator"])
def test_ctrl_c_during_imports_is_130_without_a_word(module: str, tmp_path: Path) -> None:
    (tmp_path / "pydantic.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    )
    words = ["-m", module, *(["status"] if module == "orchestrator" else []), "store"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{HOME}"}
    process = subprocess.Popen(
        [sys.executable, *words], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == (b"", b"")
        assert process.returncode == 130
    finally:
        process.kill()


@pytest.mark.usefixtures("store")
def test_ctrl_c_during_work_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> Any:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Folder, "listing", interrupt)
    for name in ("status", "why", "verify", "gc", "unlock", "report"):
        assert winning_sign(name, *GOOD[name]).exit_code == 130
