"""Tickets as Parquet files: one row per parameter, readable by any Parquet engine.

``tickets.files.columns`` lists the columns. The file's key-value metadata holds the provenance, as JSON under
``winning_sign``, and the digest of the content under ``winning_sign_blake2b``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tickets.errors import TicketError
from tickets.files import digest
from tickets.files.columns import SCHEMA, read_columns
from tickets.files.reading import parse_json
from tickets.files.stages import ticket_of_stage
from tickets.files.zoo.places import in_zoo, ticket_file
from tickets.roles import Role
from tickets.signed import SignedTensor
from tickets.ticket import SCHEMA_VERSION, Provenance, Ticket

METADATA_KEY, DIGEST_KEY = b"winning_sign", b"winning_sign_blake2b"


def save(ticket: Ticket, path: Path | str) -> None:
    """Write a ticket: two bits per sign by dictionary encoding, and fewer after zstd."""
    columns: dict[str, list[object]] = {field.name: [] for field in SCHEMA}
    for name, tensor in ticket.tensors.items():
        sign = tensor.sign.contiguous().flatten()
        zeros = (tensor.mask.flatten() & (sign == 0)).nonzero().squeeze(1)
        columns["name"].append(name)
        columns["shape"].append(list(tensor.sign.shape))
        columns["role"].append(tensor.role.value)
        columns["sign"].append(sign.numpy())
        columns["surviving_zeros"].append(zeros.numpy())
    header = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(ticket.provenance)}, sort_keys=True).encode()
    metadata = {METADATA_KEY: header, DIGEST_KEY: _digest(header, ticket.tensors)}
    table = pa.table(columns, schema=SCHEMA.with_metadata(metadata))
    pq.write_table(table, path, use_dictionary=True, compression="zstd", compression_level=7, data_page_size=8 << 20)


def load(path: Path | str, stage: str | None = None) -> Ticket:
    """Read a ticket from its file, from a zoo, or from a store by the name of the stage that made it.

    >>> tickets.load("ticket.parquet")
    >>> tickets.load("zoo:zoo/aws/chain1/round10")
    >>> tickets.load("hub:OWNER/REPOSITORY/aws/chain1/round10")
    >>> tickets.load("sweeps", "aws/chain1/round10")

    Args:
        path: the file; or ``zoo:FOLDER/NAME`` or ``hub:OWNER/REPOSITORY/NAME`` (``tickets.files.zoo.places``); with
            ``stage``, the store's folder.
        stage: the stage's name, or its end from a "/" on; or at least the first 8 digits of its key.

    Raises:
        TicketError: the file is missing, truncated or of another schema, a value is outside {-1, 0, +1}, or the content
            does not match the file's digest; the message names the file and, where possible, the tensor. (Files of
            early versions have no digest and are read without that last check.) Or no stage, or several stages, have
            this name; the message lists the nearest. Or a zoo cannot be reached, or a file is not the one it lists.
    """
    if stage is not None:
        path = ticket_of_stage(path, stage)
    elif in_zoo(path):
        path = ticket_file(path)
    columns = read_columns(path)
    provenance = _provenance(path, columns.metadata)
    tensors: dict[str, SignedTensor] = {}
    for name, role, shape, part in zip(columns.names, columns.roles, columns.shapes, columns.slices(), strict=True):
        # copies, since tensors that share memory cannot be written as safetensors
        sign, mask = (torch.from_numpy(flat[part].copy()).view(shape) for flat in (columns.sign, columns.mask))
        try:
            tensors[name] = SignedTensor(Role(role), sign, mask)
        except ValueError as error:
            raise TicketError(f"{path}: {name}: {error}") from error
    content = _digest(columns.metadata[METADATA_KEY], tensors)
    if columns.metadata.get(DIGEST_KEY, content) != content:
        raise TicketError(f"{path} is damaged: its content does not match its digest; copy it again from its source")
    return Ticket(tensors, provenance)


def content_blake2b(ticket: Ticket) -> str:
    """Digest of a ticket's signs, masks and roles by name: equal tickets have one digest, whatever their provenance."""
    return digest.of_parts(_parts(b"", dict(sorted(ticket.tensors.items()))))


def _digest(header: bytes, tensors: Mapping[str, SignedTensor]) -> bytes:
    return digest.of_parts(_parts(header, tensors)).encode()


def _parts(header: bytes, tensors: Mapping[str, SignedTensor]) -> Iterator[bytes]:
    yield header
    for name, tensor in tensors.items():
        yield json.dumps([name, list(tensor.sign.shape), tensor.role.value]).encode()
        yield tensor.sign.contiguous().numpy().tobytes()
        yield tensor.mask.contiguous().numpy().tobytes()


def _provenance(path: Path | str, metadata: Mapping[bytes, bytes]) -> Provenance:
    raw = metadata.get(METADATA_KEY)
    if raw is None:
        raise TicketError(f"{path} is a Parquet file but no ticket: it lacks the metadata winning_sign")
    try:
        header = dict(parse_json(raw))
    except (ValueError, TypeError) as error:
        raise TicketError(f"{path}: its metadata is no JSON object: {error}") from error
    version = header.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise TicketError(f"{path} has ticket schema {version}; this version reads {SCHEMA_VERSION}")
    try:
        return Provenance(**header)
    except (TypeError, ValueError) as error:
        raise TicketError(f"{path}: its provenance cannot be used: {error}") from error
