"""The index: copies of a store's records in one file, ``index.jsonl``, to read them at once.

Each line holds a record's path, the version of its file, the copy, and the copy's digest. An old, damaged or missing
index loses nothing: only current copies are used, and the records' own files are read for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from orchestrator.store.record import Record
from tickets.files import digest
from workers.storage import Storage

INDEX = "index.jsonl"


def write_index(storage: Storage, copies: Iterable[tuple[str, str, Record]]) -> None:
    """Replace the index.

    Args:
        copies: path of each record, version of its file, and the record.
    """
    lines = []
    for path, version, record in copies:
        text = record.model_dump_json()
        lines.append(json.dumps({"path": path, "version": version, "blake2b": digest.of_text(text), "record": text}))
    storage.write(INDEX, "\n".join(lines).encode())


def read_index(storage: Storage, versions: Mapping[str, str]) -> dict[str, Record]:
    """Read the copies of records whose files have not changed since, by path.

    Args:
        versions: current versions of the wanted records' files, by path.
    """
    try:
        lines = storage.read(INDEX).splitlines()
    except FileNotFoundError:
        return {}
    records = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a damaged line, or a record that is not wanted
            entry = json.loads(line)
            path, version, text = entry["path"], entry["version"], str(entry["record"])
            if version and versions[path] == version and digest.of_text(text) == entry["blake2b"]:
                records[path] = Record.model_validate_json(text)
    return records
