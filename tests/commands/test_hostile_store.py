"""Commands on a store with one damaged file: each names it in a sentence, and shows the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from analysis import checks, report
from analysis.frames.load import load
from orchestrator import gc, status, verify, why
from orchestrator.store.record import Record
from tests.analysis.conftest import SyntheticStore
from tests.orchestrator.store.stores import invoke
from workers.attempts.workspace import artifact
from workers.terminal.command import left_out

ROUND = "pretrain/digits/tiny/sound/aws/1/0/false"


def record(root: Path) -> None:
    """Seal a record whose time no calendar has."""
    path = max(root.glob("stages/train/*/record.json"))
    whole = Record.model_validate_json(path.read_text())
    hostile = Record.model_construct(**{**vars(whole), "finished_unix_s": 1e300})
    path.write_text(hostile.sealed().model_dump_json())


def metrics(root: Path) -> None:
    """Put a million equal rows into few bytes."""
    rows = pa.table({"epoch": np.zeros(1_000_000, np.int64)})
    _replace(max(root.glob("stages/train/*/out/metrics.parquet")), rows)


def ticket(root: Path) -> None:
    """Name a tensor by two thousand letters."""
    _replace(max(root.glob("stages/round/*/out/ticket.parquet")), SyntheticStore.ticket({"n" * 2000: [1]}))


def pipe(root: Path) -> None:
    """Put a named pipe in the place of a plan."""
    os.mkfifo(root / "plans" / "zz.json")


def _replace(path: Path, table: pa.Table) -> None:
    """Replace a table, and its digest in its record, as someone who may write there can."""
    pq.write_table(table, path)
    _seal(path.parent.parent / "record.json")


def _seal(path: Path) -> None:
    whole = Record.model_validate_json(path.read_text())
    files = {name: artifact(path.parent / whole.out / name) for name in whole.files}
    path.write_text(whole.model_copy(update={"files": files}).sealed().model_dump_json())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of three trainings and a chain."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store, chain = SyntheticStore(tmp_path / "runs"), {"method": "aws", "chain": 1}
    for round_ in (0, 1):
        tables = {"ticket.parquet": store.ticket({"w": [1, 0, -1]}), "metrics.parquet": store.metrics(50.0)}
        kind = "round" if round_ else "pretrain"
        store.stage(kind, {**chain, "round": round_}, {"density": 0.8**round_}, files=tables)
    for seed in (1, 2):
        store.train("signed", 60.0 + seed, **chain, round=1, seed=seed)
    for path in store.root.glob("stages/*/*/record.json"):
        _seal(path)
    store.plan()
    return store.root


@pytest.mark.parametrize("damage", [record, metrics, ticket, pipe])
def test_a_report_names_what_it_leaves_out_and_shows_the_rest(root: Path, damage: Callable[[Path], None]) -> None:
    damage(root)
    code, output = invoke(report.app, root)
    assert code == 0
    assert "1 file is left out (" in output
    assert f"winning-sign verify {root} sets it aside" in output
    page = (root / "report.html").read_text()
    assert "1 file of the store cannot be used" in page
    assert len(load(root, leave_out=True).stages) == (3 if damage is record else 4)
    code, output = invoke(checks.app, root)
    assert code in (0, 1)
    if damage is not ticket:  # which the checklist names
        assert "1 file is left out (" in output


@pytest.mark.parametrize("damage", [record, metrics, ticket, pipe])
def test_verify_finds_what_a_report_leaves_out(root: Path, damage: Callable[[Path], None]) -> None:
    assert invoke(verify.app, root)[0] == 0
    damage(root)
    code, output = invoke(verify.app, root)
    assert code == 1
    assert "1 broken" in output
    assert invoke(verify.app, root)[0] == 0
    assert not load(root, leave_out=True).left_out


@pytest.mark.parametrize("damage", [record, pipe])
@pytest.mark.parametrize("command", [(status.app,), (why.app, ROUND)])
def test_status_and_why_name_what_they_cannot_use(
    root: Path, damage: Callable[[Path], None], command: tuple[typer.Typer, *tuple[str, ...]]
) -> None:
    damage(root)
    app, *arguments = command
    code, output = invoke(app, root, *arguments)
    assert code == 0
    assert "record.json is no valid record" in output or "zz.json is a named pipe" in output
    assert f"winning-sign verify {root}" in output or "orchestrator.verify sets it aside" in output
    assert "4" in output if app is status.app else "done" in output


def test_gc_leaves_a_damaged_record_alone_and_says_so(root: Path) -> None:
    record(root)
    code, output = invoke(gc.app, root)
    assert code == 0
    assert "1 file is left out (" in output


def test_a_lease_with_a_wrong_value_is_found_and_set_aside(root: Path) -> None:
    lease = root / "drivers" / "d" / "lease.json"
    lease.parent.mkdir(parents=True)
    lease.write_text(json.dumps({"driver": "d", "pid": 10**30}))
    assert "1 file is left out (" in invoke(status.app, root)[1]
    code, output = invoke(verify.app, root)
    assert code == 1
    assert "lease.json has" in output
    assert "left out" not in invoke(status.app, root)[1]


def test_one_sentence_counts_the_files_and_gives_an_example() -> None:
    sentences = {"a": "a is a named pipe; remove it", "b": "b has 2 faults"}
    assert left_out(sentences, "runs") == (
        "2 files are left out (such as: a is a named pipe); winning-sign verify runs sets them aside"
    )


def test_verify_reads_no_file_of_another_size_than_its_record_says(root: Path) -> None:
    [path] = root.glob("stages/round/*/out/ticket.parquet")
    with path.open("r+b") as file:
        file.truncate(1 << 42)  # a hole of 4 TiB: its digest would take an hour
    code, output = invoke(verify.app, root, "--check-only")
    assert code == 1
    assert "differs from its record" in output
