"""Renew digests after a mutation, as whoever may write in a store can: deeper code then sees the values."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from benchmarks.fuzz.mutations.fields import change_json
from orchestrator.store.plans import StoredPlan
from orchestrator.store.record import Record
from tickets.files import digest
from workers.attempts.workspace import artifact


def seal(path: Path) -> bool:
    """Renew the digests that cover a mutated file; return False if there are none, or none that can be renewed."""
    try:
        if path.name == "record.json":
            _seal_record(path, Record.model_validate_json(path.read_bytes()))
        elif path.parent.name == "plans":
            path.write_text(StoredPlan.model_validate_json(path.read_bytes()).sealed().model_dump_json())
        elif path.parent.name == "out":
            record_file = path.parents[3] / "record.json"
            record = Record.model_validate_json(record_file.read_bytes())
            files = {**record.files, path.name: artifact(path)}
            _seal_record(record_file, record.model_copy(update={"files": files}))
        else:
            return False
    except (ValidationError, OSError, UnicodeError):
        return False
    return True


def _seal_record(path: Path, record: Record) -> None:
    path.write_text(record.sealed().model_dump_json(indent=1))


def change_copy(path: Path, draw: Random) -> str:
    """Change a copy of a record in the index, with the index's digest renewed and at times the record's."""
    lines = path.read_text().splitlines()
    place = draw.randrange(len(lines))
    head, _, copy = lines[place].partition("\t")
    content, said = change_json(copy.encode(), draw)
    text = content.decode(errors="replace")
    with suppress(ValidationError):
        text = Record.model_validate_json(text).sealed().model_dump_json() if draw.random() < 0.7 else text
    lines[place] = f"{json.dumps({**json.loads(head), 'blake2b': digest.of_text(text)})}\t{text}"
    path.write_text("\n".join(lines))
    return f"copy {place + 1}: {said}"


def change_position(path: Path, draw: Random) -> str:
    """Change the position or the log in a checkpoint, or rename a tensor of it, with its digest renewed."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()["winning_sign"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
    except (SafetensorError, TypeError, KeyError):
        return "no checkpoint"
    if draw.random() < 0.3:
        name = draw.choice(sorted(tensors))
        tensor = tensors.pop(name)
        said = draw.choice(["removed", "renamed", "reshaped", "doubled"])
        changed = {"renamed": {f"{name}x": tensor}, "doubled": {name: tensor.double()}}
        changed["reshaped"] = {name: tensor.reshape(-1, 1).repeat(1, 2)}
        tensors |= changed.get(said, {})
        said = f"{name} {said}"
    else:
        content, said = change_json(header.encode(), draw)
        header = content.decode(errors="replace")
    content_digest = digest.of_tensors(tensors, header=header, with_dtypes=True)
    save_file(tensors, path, {"winning_sign": header, "blake2b": content_digest})
    return said
