"""Stores merged by copying, as docs/store.md says: copied stages verify, and a mixed one is found."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator import verify
from orchestrator.store import Store
from tests.orchestrator.store.stores import SmallStore, invoke, planned_stage, start_attempt

ROOT = Path(__file__).parents[3]
A, B, BOTH = (planned_stage(name) for name in ("a", "b", "both"))


@pytest.fixture
def stores(tmp_path: Path) -> tuple[SmallStore, SmallStore]:
    """Two stores with a stage each, and one that both hold."""
    mine, theirs = SmallStore(tmp_path / "mine"), SmallStore(tmp_path / "theirs")
    for store, own in ((mine, A), (theirs, B)):
        store.plan(own, BOTH)
        for stage in (own, BOTH):
            store.commit(stage)
        (tmp_path / store.store.root / "events").mkdir()
    return mine, theirs


def merge(folder: Path) -> None:
    [command] = re.findall(r"^cp -rn .*$", (ROOT / "docs" / "store.md").read_text(), re.M)
    subprocess.run(["bash", "-c", command], cwd=folder)  # some versions of cp exit with 1 for files that exist


def test_copied_stages_verify(stores: tuple[SmallStore, SmallStore], tmp_path: Path) -> None:
    before = stores[0].store.records()[BOTH.key]
    merge(tmp_path)
    assert invoke(verify.app, tmp_path / "mine", "--check-only")[0] == 0
    merged = Store(tmp_path / "mine")
    assert set(merged.records()) == {A.key, B.key, BOTH.key}
    assert merged.records()[BOTH.key] == before
    assert len(merged.plans()) == 2


def test_an_unfinished_attempt_in_the_way_of_a_finished_one_is_found(
    stores: tuple[SmallStore, SmallStore], tmp_path: Path
) -> None:
    attempt = start_attempt(stores[0].store, B, "a-driver")
    (attempt / "out").mkdir()
    (attempt / "out" / "weights.safetensors").write_bytes(b"torn")
    merge(tmp_path)
    code, output = invoke(verify.app, tmp_path / "mine")
    assert (code, "weights.safetensors" in output) == (1, True)
    assert set(Store(tmp_path / "mine").records()) == {A.key, BOTH.key}
