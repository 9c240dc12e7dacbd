"""A store of four small stages, and an environment in which no tool is set up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.orchestrator.sinks.finished_stages import CHAIN, commit


@pytest.fixture(autouse=True)
def _nothing_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither logged in nor with a server, in an empty folder; wandb's own process ends with the test."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    yield
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A round, a transfer, a dense training and a probe."""
    store = Store(tmp_path / "store")
    (tmp_path / "store").mkdir()
    commit(store, "a", "round", "mnist1d/net/aws/chain2/round07", {**CHAIN, "round": 7})
    trained = {**CHAIN, "round": 7, "transfer": "signed", "seed": 1}
    commit(store, "b", "train", "mnist1d/net/aws/chain2/round07/signed/seed1", trained)
    commit(store, "c", "train", "mnist1d/net/dense/seed1", {**CHAIN, "method": None, "chain": None})
    commit(store, "d", "probe", "mnist1d/net/aws/chain2/round07/signed/lmc/seed1", {**trained, "probe": "lmc"}, 0)
    return store
