"""A store that ``benchmarks.scale`` moved into a bucket has a current index, and a current stamp of its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.faults.bucket import SETTINGS
from benchmarks.finished_store import write_finished
from orchestrator.session.live_report import STAMP, LiveReport
from orchestrator.store import Store
from orchestrator.store.index import current_copies

pytestmark = pytest.mark.slow(seconds=8)


def test_the_index_and_the_stamp_of_a_moved_store_are_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SETTINGS, "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "")  # set again by the benchmark; restored after this test
    local = tmp_path / "store"
    plan = scale.finished_plan(20, tmp_path / "cache")
    write_finished(local, plan)
    with scale.bucket(scale.LOOPBACK) as url:
        assert url is not None
        scale.move(local, url)
        store = Store(url)
        assert store.storage.listing().keys() == Store(local).storage.listing().keys() | {STAMP}
        assert len([*current_copies(store.storage, store.stages())]) == len(plan)
        assert store.storage.read(STAMP) == LiveReport(store).stamp()
        name = next(iter(store.stages().values())).record
        store.storage.write(name, store.storage.read(name) + b"\n")
        store = Store(url)
        assert len([*current_copies(store.storage, store.stages())]) == len(plan) - 1
        assert store.storage.read(STAMP) != LiveReport(store).stamp()
