"""Copies of the tables of results are the files' rows, as long as the files do not change."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import load
from analysis.frames import results
from analysis.frames.results import read_copies
from analysis.report import write_report
from orchestrator.store import Store
from tickets.files import digest
from tickets.files.tables import read_rows
from workers.storage import schemas

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore


@pytest.fixture
def opened(store: SyntheticStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A store of two trainings and a probe, whose opened files are listed."""
    monkeypatch.setattr(results, "LEAST_TO_COPY", 1)
    names: list[str] = []

    def listed(path: Path | str, *how: Any) -> pa.Table:
        path = Path(path)
        if path.parts[0] != "copies":
            names.append(f"{path.parents[3].name[:9]} {path.name}")
        return read_rows(path, *how)

    monkeypatch.setattr(results, "read_rows", listed)
    store.train("signed", 60.0, method="aws", chain=1, round=3, seed=1)
    store.train("mask", 50.0, method="aws", chain=1, round=3, seed=1)
    store.probe("lmc", "signed", (30.0, 36.0, 32.0), method="aws", chain=1, round=3, seed=1)
    return names


def same(a: Any, b: Any) -> None:
    for name in ("stages", "metrics", "probes"):
        pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name))


def test_a_file_is_opened_once_until_it_changes(store: SyntheticStore, opened: list[str]) -> None:
    first = load(store.root, copy=True)
    assert len(opened) == 2 * 2 + 2
    opened.clear()
    same(load(store.root), first)
    assert opened == []
    path = next(path for path in store.root.rglob("metrics.parquet") if "mask" in str(path))
    table = pq.read_table(path)
    losses = pa.array([7.5] * len(table))
    pq.write_table(table.set_column(table.column_names.index("loss_nats"), "loss_nats", losses), path)
    changed = load(store.root, copy=True).metrics
    assert len(opened) == 1
    assert set(changed.loc[changed["transfer"] == "mask", "loss_nats"]) == {7.5}
    assert set(changed.loc[changed["transfer"] == "signed", "loss_nats"]).isdisjoint({7.5})
    store.train("retrain", 70.0, method="aws", chain=1, round=3, seed=1)
    opened.clear()
    assert len(load(store.root).metrics) == 9
    assert len(opened) == 2


@pytest.mark.usefixtures("one_figure")
def test_only_a_reader_that_may_write_copies(store: SyntheticStore, opened: list[str]) -> None:
    load(store.root)
    assert not (store.root / "copies").exists()
    write_report(store.root, store.root.parent / "elsewhere.html")
    assert not (store.root / "copies").exists()
    write_report(store.root)
    assert sorted(path.name for path in (store.root / "copies").iterdir()) == [
        "barrier.rows",
        "metrics.rows",
        "probe.rows",
        "timing.rows",
    ]


def test_a_flipped_bit_of_a_copy_gives_no_other_rows(store: SyntheticStore, opened: list[str]) -> None:
    load(store.root, copy=True)
    path = store.root / "copies" / "probe.rows"
    content = path.read_bytes()
    assert len(read_copies(Store(store.root), schemas.PROBE, schemas.PROBE_SCHEMA).places) == 1
    for place in range(0, len(content), 13):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert read_copies(Store(store.root), schemas.PROBE, schemas.PROBE_SCHEMA).places == {}


def test_copies_of_other_columns_are_not_used(store: SyntheticStore, opened: list[str]) -> None:
    load(store.root, copy=True)
    other = pa.schema({"epoch": pa.int32()})
    assert read_copies(Store(store.root), "probe.parquet", other).places == {}


def test_copies_without_a_row_are_no_copies(store: SyntheticStore, opened: list[str]) -> None:
    load(store.root, copy=True)
    path = store.root / "copies" / "probe.rows"
    _, _, parquet = path.read_bytes().partition(b"\n")
    empty = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(parquet))[:0], empty)
    path.write_bytes(digest.of_bytes(empty.getvalue()).encode() + b"\n" + empty.getvalue())
    assert read_copies(Store(store.root), schemas.PROBE, schemas.PROBE_SCHEMA).places == {}


def test_a_file_without_a_version_is_read_each_time(
    store: SyntheticStore, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_version", lambda reader, record, file: "" if record.kind == "train" else "1")
    first = load(store.root, copy=True)
    opened.clear()
    same(load(store.root), first)
    assert len(opened) == 4
