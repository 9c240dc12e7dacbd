"""Tickets as Parquet files: one row per parameter, readable by any Parquet engine.

Columns: ``name``, ``shape`` (list of int64), ``role``, ``sign`` (list of int8 in {-1, 0, +1}, row-major) and
``surviving_zeros`` (list of int64: flat positions that the mask keeps although their sign is 0; nearly always
empty). Hence the mask is ``sign != 0`` or'ed with ``surviving_zeros``. The provenance is in the file's key-value
metadata, under ``winning_sign``, and the content's blake2b-128 beside it, under ``winning_sign_blake2b``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tickets.errors import TicketError
from tickets.files import digest
from tickets.roles import Role
from tickets.signed import SignedTensor
from tickets.ticket import SCHEMA_VERSION, Provenance, Ticket

METADATA_KEY, DIGEST_KEY = b"winning_sign", b"winning_sign_blake2b"
SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int64()), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("sign", pa.list_(pa.field("element", pa.int8(), nullable=False)), nullable=False),
        pa.field("surviving_zeros", pa.list_(pa.int64()), nullable=False),
    ]
)


def save(ticket: Ticket, path: Path | str) -> None:
    """Write a ticket. Three values take two bits each by the dictionary encoding, and zstd the rest of the slack."""
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


def load(path: Path | str) -> Ticket:
    """Read a ticket.

    Raises:
        TicketError: the file is missing, truncated, of another schema, holds a value outside {-1, 0, +1}, or is not
            what was written; the message names the file and, where there is one, the tensor. (Files from before
            tickets had a digest are read without that last check.)
    """
    path = Path(path)
    try:
        table = pq.read_table(path)
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        labels = columns["name"].to_pylist() if "name" in columns else []
    except (pa.ArrowException, OSError, ValueError, RuntimeError) as error:
        raise TicketError(f"{path} is no readable ticket: {error}") from error
    metadata = table.schema.metadata or {}
    header = _header(path, metadata)
    missing = [field.name for field in SCHEMA if field.name not in columns]
    if missing:
        raise TicketError(f"{path} is no ticket: it lacks the columns {', '.join(missing)}")

    tensors: dict[str, SignedTensor] = {}
    rows = (columns[field.name] for field in SCHEMA if field.name != "name")
    for label, shape, role, sign, zeros in zip(labels, *rows, strict=True):
        if not (isinstance(label, str) and isinstance(sign, pa.ListScalar)):
            raise TicketError(f"{path} is no ticket: its columns are of other types")
        if label in tensors:
            raise TicketError(f"{path}: {label} occurs twice")
        try:
            tensors[label] = _tensor(sign.values, shape.as_py(), role.as_py(), zeros.as_py())
        except (ValueError, TypeError, IndexError, RuntimeError, pa.ArrowException) as error:
            raise TicketError(f"{path}: {label}: {error}") from error
    content = _digest(metadata[METADATA_KEY], tensors)
    if metadata.get(DIGEST_KEY, content) != content:
        raise TicketError(f"{path} is not what was written; get it anew from where it was made")
    return Ticket(tensors, header)


def _digest(header: bytes, tensors: Mapping[str, SignedTensor]) -> bytes:
    return digest.of_parts(_parts(header, tensors)).encode()


def _parts(header: bytes, tensors: Mapping[str, SignedTensor]) -> Iterator[bytes]:
    yield header
    for name, tensor in tensors.items():
        yield json.dumps([name, list(tensor.sign.shape), tensor.role.value]).encode()
        yield tensor.sign.contiguous().numpy().tobytes()
        yield tensor.mask.contiguous().numpy().tobytes()


def _tensor(values: pa.Array, shape: list[int], role: str, zeros: list[int]) -> SignedTensor:
    flat = np.array(values.to_numpy(zero_copy_only=False))
    if flat.dtype != np.int8:
        raise TicketError(f"signs are int8 without missing values, got {flat.dtype}")
    if flat.size != int(np.prod(shape, dtype=np.int64)):
        raise TicketError(f"{flat.size} signs do not fill the shape {tuple(shape)}")
    if flat.size and (flat.min() < -1 or flat.max() > 1):
        raise TicketError("a sign is -1, 0 or +1")
    sign = torch.from_numpy(flat)
    mask = sign != 0
    positions = torch.tensor(zeros, dtype=torch.int64)
    if positions.numel() and (positions.min() < 0 or bool(sign[positions].any())):
        raise TicketError("surviving_zeros names a position that does not exist or whose sign is not 0")
    mask[positions] = True
    return SignedTensor(Role(role), sign.view(shape), mask.view(shape))


def _header(path: Path, metadata: Mapping[bytes, bytes]) -> Provenance:
    raw = metadata.get(METADATA_KEY)
    if raw is None:
        raise TicketError(f"{path} is a Parquet file but no ticket: it has no winning_sign metadata")
    try:
        header = dict(json.loads(raw))
    except (ValueError, TypeError) as error:
        raise TicketError(f"{path}: its metadata is no JSON object: {error}") from error
    version = header.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise TicketError(f"{path} has ticket schema {version}; this version reads {SCHEMA_VERSION}")
    try:
        return Provenance(**header)
    except TypeError as error:
        raise TicketError(f"{path}: its provenance is incomplete: {error}") from error
