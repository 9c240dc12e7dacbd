"""Reads the file of an offline run: LevelDB's log format with a header of its own, and protobuf records."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER_BYTES, BLOCK_BYTES, RECORD_HEADER_BYTES = 7, 32768, 7


@dataclass
class OfflineRun:
    run: Any = None
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    finished: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {item.key: json.loads(item.value_json) for item in self.run.config.update}


def read_offline_run(path: Path) -> OfflineRun:
    from wandb.proto.wandb_internal_pb2 import Record

    read = OfflineRun()
    for content in _contents(path.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            read.run = record.run
        elif kind == "history":
            read.history.append(_items(record.history.item))
        elif kind == "summary":
            read.summary |= _items(record.summary.update)
        elif kind == "exit":
            read.finished = record.exit.exit_code == 0
    return read


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _contents(data: bytes) -> list[bytes]:
    assert data[:4] == b":W&B"
    contents, parts, place = [], b"", HEADER_BYTES
    while place + RECORD_HEADER_BYTES <= len(data):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < RECORD_HEADER_BYTES:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + RECORD_HEADER_BYTES : place + RECORD_HEADER_BYTES + size]
        place += RECORD_HEADER_BYTES + size
        if kind in (1, 4):  # whole, or the last part
            contents.append(parts)
            parts = b""
    return contents
