"""A store of two methods with two chains each, swept once, and the zoo of its tickets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.support import small_sweeps
from tests.support.hubs.model_hub import ModelHub, model_hub
from tests.support.sweep_processes import in_process
from tickets.__main__ import app

RECIPE = {"rounds": 2, "transfer_rounds": [2], "probe_rounds": [], "transfers": ["signed"], "chains": 2, "seeds": 2}


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})


def published(folder: Path, *stores: Path) -> Path:
    """Publish stores' tickets."""
    done = command("publish", *stores, folder, "--licence", "CC-BY-4.0")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return folder


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder with the store ``store``."""
    folder = small_sweeps.prepare(tmp_path_factory.mktemp("zoo"), **RECIPE)
    here = ("--backend", "inline", "--device", "cpu")
    code, output = in_process(*small_sweeps.options(folder, folder / "store"), *here)
    assert code == 0, output
    return folder


@pytest.fixture(scope="session")
def shown(swept: Path) -> Path:
    """A zoo that no test changes."""
    return published(swept / "zoo", swept / "store")


@pytest.fixture
def store(swept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(swept / "store", tmp_path / "store")


@pytest.fixture
def zoo(shown: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shown, tmp_path / "zoo")


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with model_hub() as server:
        yield server
