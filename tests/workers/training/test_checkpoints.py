"""Checkpoints in a store that somebody else may write: only those that fit are resumed from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tickets.files import digest
from workers.storage import UnreadableFileError
from workers.storage.artifacts import load_weights
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint

TENSORS = {"model.weight": torch.ones(2, 3)}
LOG: dict[str, Any] = {"metrics": [], "timing": []}


def sealed(path: Path, header: str, tensors: dict[str, torch.Tensor] = TENSORS) -> None:
    """Write a checkpoint with the digest of whatever it holds."""
    content = digest.of_tensors(tensors, header=header, with_dtypes=True)
    save_file(tensors, path, {"winning_sign": header, "blake2b": content})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an intact checkpoint, before the hostile one."""
    save_checkpoint(tmp_path / "c", Snapshot(Position(1, 2), TENSORS, LOG))
    return tmp_path / "c"


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        "[]",
        json.dumps({"position": 3, "log": LOG}),
        json.dumps({"position": {"epoch": -1, "batch": 0}, "log": LOG}),
        json.dumps({"position": {"epoch": "1", "batch": 0}, "log": LOG}),
        json.dumps({"position": {"epoch": 1e9, "batch": 0}, "log": LOG}),
        json.dumps({"position": {"epoch": 1, "batch": 0}, "log": [1]}),
        json.dumps({"position": {"epoch": 1, "batch": 0}, "log": {"metrics": 3, "timing": []}}),
        json.dumps({"position": {"epoch": 1, "batch": 0}}),
    ],
    ids=lambda header: header[:50],
)
def test_a_header_that_cannot_be_used_is_skipped(folder: Path, header: str) -> None:
    sealed(folder / "00009-0000000.safetensors", header)
    snapshot = newest_checkpoint([folder], LOG, TENSORS)
    assert snapshot is not None
    assert snapshot.position == Position(1, 2)


@pytest.mark.parametrize(
    "tensor", [torch.ones(1), torch.ones(3, 2), torch.ones(2, 3, dtype=torch.float64)], ids=["one", "turned", "double"]
)
def test_tensors_of_another_network_are_skipped(folder: Path, tensor: torch.Tensor) -> None:
    header = json.dumps({"position": {"epoch": 9, "batch": 0}, "log": LOG})
    sealed(folder / "00009-0000000.safetensors", header, {"model.weight": tensor})
    sealed(folder / "00009-0000001.safetensors", header, {"other": TENSORS["model.weight"]})
    snapshot = newest_checkpoint([folder], LOG, TENSORS)
    assert snapshot is not None
    assert snapshot.position == Position(1, 2)


def test_pipes_and_links_are_never_opened(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "00008-0000000.safetensors")
    (folder / "00009-0000000.safetensors").symlink_to(tmp_path / "elsewhere")
    header = json.dumps({"position": {"epoch": 9, "batch": 0}, "log": LOG})
    sealed(tmp_path / "elsewhere", header)
    snapshot = newest_checkpoint([folder], LOG, TENSORS)
    assert snapshot is not None
    assert snapshot.position == Position(1, 2)


def test_weights_that_are_none_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x00" * 50)
    with pytest.raises(UnreadableFileError, match="holds no weights"):
        load_weights(path)
    save_file(TENSORS, path)
    with pytest.raises(UnreadableFileError, match="holds no weights"):
        load_weights(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnreadableFileError, match="a named pipe"):
        load_weights(path)


def test_a_checkpoint_that_cannot_be_resumed_gives_way_to_an_earlier_one(folder: Path) -> None:
    header = json.dumps({"position": {"epoch": 2**30, "batch": 0}, "log": LOG})
    sealed(folder / "09999-0000000.safetensors", header)
    beyond = newest_checkpoint([folder], LOG, TENSORS)
    assert beyond is not None
    assert beyond.position.epoch == 2**30
    snapshot = newest_checkpoint([folder], LOG, TENSORS, lambda snapshot: snapshot.position.epoch <= 3)
    assert snapshot is not None
    assert snapshot.position == Position(1, 2)
