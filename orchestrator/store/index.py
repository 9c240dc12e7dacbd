"""``index.jsonl``: copies of a store's records, to read them at once. It may be old, damaged or gone: nothing is lost.

A line has the record's path, the version of the file that it was copied from, and a digest of the copy.
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
        copies: each record's path, the version of its file, and the record.
    """
    lines = []
    for path, version, record in copies:
        text = record.model_dump_json()
        lines.append(json.dumps({"path": path, "version": version, "blake2b": digest.of_text(text), "record": text}))
    storage.write(INDEX, "\n".join(lines).encode())


def read_index(storage: Storage, versions: Mapping[str, str]) -> dict[str, Record]:
    """The records in the index whose files have not changed since, by path.

    Args:
        versions: of the files as they are now, by path; only these are looked for.
    """
    try:
        lines = storage.read(INDEX).splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a damaged line is as good as none
            entry = json.loads(line)
            path, version, text = entry["path"], entry["version"], str(entry["record"])
            if version and versions[path] == version and digest.of_text(text) == entry["blake2b"]:
                found[path] = Record.model_validate_json(text)
    return found
