"""A sweep with ``--log-to``: it writes while it runs and at its end, and succeeds whatever becomes of its tools."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from orchestrator.session.live_export import LiveExport
from orchestrator.store import Store
from tests.support import small_sweeps
from tests.support.sweep_processes import in_process
from workers.terminal.console import Console

pytest.importorskip("tensorboard")
pytestmark = pytest.mark.slow(seconds=25)


def written(folder: str) -> int:
    return len(list(Path(folder).rglob("stage-key.txt")))


@pytest.fixture
def locked() -> str:
    """A destination in which no folder for a stage can be made."""
    Path("locked").mkdir()
    for name in ("mnist1d", "patterns"):
        Path("locked", name).touch()
    return "tensorboard:locked"


def test_other_tools_go_on_and_a_failure_is_told_of_once_and_at_the_end(
    store: Store, locked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    live, told, output = LiveExport(store, [locked, "tensorboard"]), list[str](), io.StringIO()
    live.refresh(told.append)
    assert live.companion is not None
    live.companion.wait()
    for _ in range(2):
        live.refresh(told.append)
    assert written("runs") == 4
    command = f"winning-sign export {store.root} --to {locked} --to tensorboard"
    assert told == [f"Writing to --log-to fails, and the sweep goes on; {command} says why."]
    live.write(Console(file=output, width=500))
    assert output.getvalue() == "tensorboard:runs: 0 stages written, 4 were there already.\n"
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("Error: tensorboard:locked: ")
    assert errors[1:] == [f"Error: the stages are in the store; for --log-to mend this, then: {command}"]


def test_a_sweep_succeeds_whatever_becomes_of_its_sinks(tmp_path: Path, locked: str) -> None:
    folder = small_sweeps.prepare(tmp_path / "recipe", **small_sweeps.ONE_ROUND, probe_rounds=[])
    where = ("--backend", "inline", "--device", "cpu", "--log-to", locked, "--log-to", "tensorboard:logs")
    options = small_sweeps.options(folder, tmp_path / "store", *where)
    code, output = in_process(*options)
    assert code == 0, output
    stages = len(Store(tmp_path / "store").records())
    assert f"tensorboard:logs: {stages} stages written, 0 were there already." in output
    assert "for --log-to mend this, then: winning-sign export" in output
    assert written("logs") == stages
    Path("locked", "patterns").unlink()
    code, output = in_process(*options)  # nothing is left to compute, and what was not written is
    assert code == 0, output
    assert f"tensorboard:locked: {stages} stages written, 0 were there already." in output
