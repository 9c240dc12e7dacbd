"""Checkpoints and tickets that claim more than they hold: one sentence, before memory or time are spent."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tickets
from tests.tickets.formats.test_parquet import PROVENANCE
from tickets import TicketError, formats


def expanded(path: Path) -> None:
    """One number that stands for 10**12 weights."""
    torch.save({"a.weight": torch.ones(1).expand(10**6, 10**6)}, path)


def views(path: Path) -> None:
    """A thousand tensors in one memory."""
    storage = torch.ones(1_000_000)
    torch.save({f"a{number}.weight": storage.view(1000, 1000) for number in range(1000)}, path)


def sparse(path: Path) -> None:
    """A sparse tensor without any value."""
    torch.save({"a.weight": torch.sparse_coo_tensor(size=(10**6, 10**6))}, path)


def nested_dicts(path: Path) -> None:
    """Mappings of a thousand keys, three deep, all shared."""
    inner: Any = {f"k{number}": 1 for number in range(1000)}
    for _ in range(2):
        inner = {f"k{number}": inner for number in range(1000)}
    torch.save(inner, path)


def packed(path: Path) -> None:
    """An entry of 80 MB of zeros, deflated."""
    torch.save({"a.weight": torch.ones(2, 2)}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/1", "w") as entry:
        for _ in range(80):
            entry.write(bytes(1 << 20))


def long_name(path: Path) -> None:
    torch.save({"n" * 5000 + ".weight": torch.ones(2, 2)}, path)


def no_archive(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))


def header(path: Path) -> None:
    """A header of 10**9 bytes."""
    path.write_bytes(struct.pack("<Q", 10**9) + b"{" + bytes(100))


def header_beyond_the_end(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 10**6) + b"{" + bytes(100))


def shape(path: Path) -> None:
    """A shape of 2**70 elements in four bytes."""
    text = json.dumps({"a.weight": {"dtype": "F32", "shape": [2**35, 2**35], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))


def negative_shape(path: Path) -> None:
    text = json.dumps({"a.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))


def deep_metadata(path: Path) -> None:
    tensors = {"a": torch.ones(1, dtype=torch.int8), "a.mask": torch.ones(1, dtype=torch.bool)}
    save_file(tensors, path, {"winning_sign": "[" * 100_000 + "]" * 100_000})


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    "make",
    [
        expanded,
        views,
        sparse,
        nested_dicts,
        packed,
        long_name,
        no_archive,
        header,
        header_beyond_the_end,
        shape,
        negative_shape,
        deep_metadata,
        pipe,
    ],
)
def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    make(path)
    with pytest.raises(TicketError, match=r"file\b") as caught:
        formats.read(path)
    assert len(str(caught.value)) < 600


def test_real_checkpoints_share_memory_and_are_packed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 3))
    with torch.no_grad():
        model[0].weight[0] = 0
    state = model.state_dict()
    torch.save({"state_dict": state, "model": state, "epoch": 3}, tmp_path / "t.pt")
    with zipfile.ZipFile(tmp_path / "t.pt") as archive, zipfile.ZipFile(tmp_path / "p.pt", "w", 8) as again:
        for entry in archive.infolist():
            again.writestr(entry.filename, archive.read(entry))
    assert formats.read(tmp_path / "t.pt").density == formats.read(tmp_path / "p.pt").density < 1


@pytest.mark.parametrize(
    "provenance",
    [
        "[" * 100_000 + "]" * 100_000,
        "{}",
        "[1]",
        json.dumps({**asdict(PROVENANCE), "schema_version": 1, "method": "m" * 100_000}),
        json.dumps({**asdict(PROVENANCE), "schema_version": 1, "round": 10**30}),
        json.dumps({**asdict(PROVENANCE), "schema_version": 1, "density": [1]}),
        json.dumps({**asdict(PROVENANCE), "schema_version": 1, "density": 1e300}),
        json.dumps({**asdict(PROVENANCE), "schema_version": 1, "more": 1}),
        json.dumps({"schema_version": [1]}),
    ],
    ids=lambda text: text[:20],
)
def test_metadata_that_no_reader_can_use_is_refused(tmp_path: Path, provenance: str) -> None:
    columns = {"name": ["w"], "shape": [[1]], "role": ["bias"], "sign": [[1]], "surviving_zeros": [[]]}
    schema = tickets.parquet.SCHEMA.with_metadata({b"winning_sign": provenance.encode()})
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "t.parquet")
    with pytest.raises(TicketError, match=r"t\.parquet"):
        tickets.load(tmp_path / "t.parquet")


def test_a_model_card_nested_too_deeply_or_too_long_is_refused(tmp_path: Path) -> None:
    sign = torch.ones(2, 2, dtype=torch.int8)
    ticket = tickets.Ticket({"w": tickets.SignedTensor(tickets.Role.PRUNABLE, sign, sign > 0)}, PROVENANCE)
    formats.write(ticket, tmp_path / "hub", "hub")
    card = tmp_path / "hub" / "README.md"
    for front_matter in ("[" * 5_000, "a" * (2 << 20)):
        card.write_text(f"---\n{front_matter}\n---\n")
        with pytest.raises(TicketError, match="its front matter lacks"):
            formats.read(tmp_path / "hub")
