"""Sweeps in processes of their own: how they are started, held still, ended, and how two stores are compared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from orchestrator.session.live_report import LiveReport
from orchestrator.store import Store
from orchestrator.store.record import Record
from orchestrator.sweep import app
from workers.storage import open_storage

HOLDING = '''
"""The built-in networks, which wait in their third training batch while a file beside this one says so."""

import time
from dataclasses import replace
from pathlib import Path

from workers.models import ARCHITECTURES

HOLD = Path(__file__).with_name("hold")


def hold(module, inputs):
    module.passes = getattr(module, "passes", 0) + 1
    if module.training and module.passes == 3 and HOLD.exists():
        store, records = HOLD.read_text().split("\\n")
        if len(list(Path(store).glob("stages/*/*/record.json"))) >= int(records):
            HOLD.with_name("held").touch()
            while HOLD.exists():
                time.sleep(0.02)
            time.sleep(0.3)  # a worker looks for a stop request five times a second, and only a few batches are left


def held(name):
    build = ARCHITECTURES[name].build

    def wrapped(in_channels, num_classes, **options):
        model = build(in_channels, num_classes, **options)
        model.register_forward_pre_hook(hold)
        return model

    ARCHITECTURES[name] = replace(ARCHITECTURES[name], function=wrapped)


held("resnet1d")
held("resnet20")
'''
PATIENCE_S = 240
WITHOUT_REPORT = (
    "-c",
    "from orchestrator.session.live_report import LiveReport; LiveReport.refresh = LiveReport.write = lambda *_: True; "
    "from orchestrator.sweep import app; app()",
)
"""The sweep's program for tests that do not read the report, whose drawing takes longer than a small sweep."""


@dataclass
class Hold:
    """Stops the first stage that trains after the store holds some records, until it is let go."""

    plugin: Path

    @classmethod
    def at(cls, folder: Path, store: Path, records: int) -> Hold:
        """A plugin in a folder of its own, with the hold in place."""
        folder.mkdir()
        (folder / "holding.py").write_text(HOLDING)
        (folder / "hold").write_text(f"{store}\n{records}")
        return cls(folder / "holding.py")

    def is_held(self) -> bool:
        """Whether a stage waits at the hold."""
        return self.plugin.with_name("held").exists()

    def let_go(self) -> None:
        """Let it go on, and stop no other."""
        self.plugin.with_name("hold").unlink()


def start(*arguments: object, program: Sequence[str] = ("-m", "orchestrator.sweep")) -> subprocess.Popen[str]:
    """A sweep, leader of a process group, so that a Ctrl-C can be sent as a terminal does: to all of the group."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "500", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a sweep to end; return its exit code and output."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def run(*arguments: object, program: Sequence[str] = ("-m", "orchestrator.sweep")) -> tuple[int, str]:
    """Run a sweep undisturbed; return its exit code and output."""
    return finish(start(*arguments, program=program))


@contextmanager
def no_report() -> Iterator[None]:
    """Let sweeps of this process write no report, whose drawing takes longer than a small sweep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveReport, "refresh", lambda self: None)
        patch.setattr(LiveReport, "write", lambda self, console: True)
        yield


def in_process(*arguments: object, report: bool = False) -> tuple[int, str]:
    """Run the command in this process, which saves the start of another; return its exit code and output.

    Args:
        arguments: the command's.
        report: draw the report too.
    """
    with nullcontext() if report else no_report():
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "500"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[Any] | None = None, log: Path | None = None
) -> None:
    """Until it holds; an error when time is up, or the process has ended without it, which printed to a pipe or log."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"it ended early:\n{log.read_text() if log else process.communicate()[0]}")
        assert time.monotonic() < until, log.read_text() if log else "time is up"
        time.sleep(0.05)


def stop_files(store: Path) -> list[Path]:
    """What asks a store's drivers to stop."""
    return list(store.glob("drivers/*/stop"))


def control_c(process: subprocess.Popen[str]) -> None:
    """What a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a sweep and its process group if they still run."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def by_name(store: Path) -> dict[str, Record]:
    """Records by the stage's name."""
    return {record.name: record for record in Store(store).records().values()}


def brought(url: str, folder: Path) -> Path:
    """A bucket's store as a folder."""
    storage = open_storage(url)
    for path in storage.listing():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        storage.download(path, folder / path)
    return folder


def record_times(store: Path) -> dict[str, int]:
    """When each record was written, in ns, by its folder."""
    return {path.parent.name: path.stat().st_mtime_ns for path in store.glob("stages/*/*/record.json")}


def out(store: Path, key: str) -> Path:
    """Folder of a committed stage's artifacts."""
    return store / Store(store).out(key)


def tables(store: Path, key: str) -> dict[str, pa.Table]:
    """A stage's Parquet tables by file, but for the timing, which differs between equal runs."""
    return {path.name: pq.read_table(path) for path in out(store, key).glob("*.parquet") if path.stem != "timing"}


def assert_same_results(one: Path, two: Path) -> None:
    """Every stage of the second store is in the first with the same key, tables, weights and findings, to the bit."""
    first, second = Store(one).records(), Store(two).records()
    assert second
    assert second.keys() <= first.keys()
    for key, record in second.items():
        assert record.results == first[key].results, record.name
        assert record.files.keys() == first[key].files.keys()
        assert tables(one, key) == tables(two, key), record.name
        for name in ("weights.safetensors", "init.safetensors"):
            if name in record.files:
                paths = [out(store, key) / name for store in (one, two)]
                assert paths[0].read_bytes() == paths[1].read_bytes(), f"{record.name}: {name}"
