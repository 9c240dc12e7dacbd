"""Reading records: from their own files, or from the index, copies in one file, ``index.jsonl``, to read at once.

Each line holds a record's path, the version of its file and the copy's digest as JSON; a tab; and the copy. An old,
damaged or missing index loses nothing: only current copies are used, and the records' own files are read for the rest.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress

from orchestrator.store.layout import RECORD, StageFiles
from orchestrator.store.record import REMEDY, Record, StoreError
from orchestrator.store.values import Parts
from tickets.files import digest
from tickets.files.reading import parse_json
from workers.storage import Storage, UnreadableFileError, read_many

INDEX = "index.jsonl"
MOST_BYTES = 512 << 20  # copies of 100,000 records, the most of a plan, take 310 MB


def parse_record(content: bytes, path: str, key: str, parts: Parts) -> Record:
    """Parse the file of a stage's record.

    Args:
        path: for messages.
        key: the stage's key, or its first digits.
        parts: receives the parts that records share.

    Raises:
        StoreError: the record is damaged, or another stage's.
    """
    record = Record.parse(content, path, parts)
    if not record.key.startswith(key):
        raise StoreError(f"{path} is of stage {record.key}, which does not belong there; {REMEDY}")
    return record


def read_records(
    storage: Storage, stages: Mapping[str, StageFiles], parts: Parts, records: MutableMapping[str, Record]
) -> dict[str, str]:
    """Read the own files of done stages' records.

    Args:
        stages: by any keys that begin the stages' own.
        parts: receives the parts that records share.
        records: receives the records, by the given keys.

    Returns:
        A sentence for each damaged record, by the given keys.
    """
    keys = {stage.record: key for key, stage in stages.items()}
    unreadable: dict[str, str] = {}
    contents = read_many(storage, [*keys], unreadable)
    damaged = {keys[path]: sentence for path, sentence in unreadable.items()}
    for path, content in contents.items():
        try:
            records[keys[path]] = parse_record(content, f"{storage.root}/{path}", keys[path], parts)
        except StoreError as error:
            damaged[keys[path]] = str(error)
    return damaged


def write_index(storage: Storage, stages: Mapping[str, StageFiles], records: Mapping[str, Record]) -> None:
    """Replace the index by copies of records; they and their stages' files are given by any same key."""
    lines = io.BytesIO()
    for key, record in records.items():
        if stages[key].done:
            copy, version = record.model_dump_json().encode(), stages[key].files[RECORD].version
            about = {"path": stages[key].record, "version": version, "blake2b": digest.of_bytes(copy)}
            lines.write(json.dumps(about).encode() + b"\t" + copy + b"\n")
    storage.write(INDEX, lines.getvalue())


def current_copies(storage: Storage, stages: Mapping[str, StageFiles]) -> Iterator[tuple[str, bytes]]:
    """Yield the undamaged copies of done stages' records whose files have not changed since: given key and JSON."""
    keys = {stage.record: key for key, stage in stages.items()}
    try:
        lines = io.BytesIO(storage.read(INDEX, MOST_BYTES))  # a line at a time: all lines are as large as the file
    except (FileNotFoundError, UnreadableFileError):
        return
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a damaged line, or a record that is not wanted
            head, _, copy = line.rstrip(b"\n").partition(b"\t")
            about = parse_json(head)
            key, version = keys[about["path"]], about["version"]
            current = stages[key].files[RECORD].version
            if version and version == current and digest.of_bytes(copy) == about["blake2b"]:
                yield key, copy


def read_index(storage: Storage, stages: Mapping[str, StageFiles], parts: Parts) -> dict[str, Record]:
    """Read the current copies of done stages' records, by the given keys; a copy that is no valid record is left out.

    Args:
        parts: receives the parts that records share.
    """
    records = {}
    for key, copy in current_copies(storage, stages):
        with suppress(ValueError):
            record = Record.model_validate_json(copy, context=parts)
            if record.key.startswith(key):
                records[key] = record
    return records
