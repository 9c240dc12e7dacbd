"""This project's formats: Parquet (``tickets.parquet``) and safetensors.

The safetensors are, for each parameter ``NAME``, the signs in int8, and ``NAME.mask``, a bool. The metadata
``winning_sign`` is JSON with ``schema_version``, ``provenance``, and ``roles`` by name in the network's order. Files
without it are read if weights have a ``NAME.mask``; their roles are inferred.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from tickets.errors import TicketError
from tickets.formats.format import Format, Hints
from tickets.formats.naming import Naming, has_masks, read_masked
from tickets.formats.source import Source
from tickets.parquet import load, save
from tickets.roles import Role
from tickets.signed import SignedTensor
from tickets.ticket import SCHEMA_VERSION, Provenance, Ticket

NAMING = Naming(mask="{}.mask")
HEADER = "winning_sign"


def _fits(source: Source) -> bool:
    return source.kind == "safetensors" and (HEADER in source.metadata or has_masks(source, NAMING))


def _read(source: Source, hints: Hints) -> Ticket:
    if HEADER not in source.metadata:
        return read_masked(NAMING, source, hints)
    try:
        header: dict[str, Any] = json.loads(source.metadata[HEADER])
        version = header["schema_version"]
        if version != SCHEMA_VERSION:
            raise TicketError(f"it has ticket schema {version}; this version reads {SCHEMA_VERSION}")
        tensors = {name: _tensor(name, role, source.tensors) for name, role in header["roles"].items()}
        extra = set(source.tensors) - {key for name in tensors for key in (name, f"{name}.mask")}
        if extra:
            raise TicketError(f"the header does not name the tensor {min(extra)}")
        provenance = Provenance(**header["provenance"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fault = f"its header lacks {error}" if isinstance(error, KeyError) else error
        raise TicketError(f"{source.path} is no ticket: {fault}") from error
    return Ticket(tensors, provenance)


def _tensor(name: str, role: str, tensors: Mapping[str, Tensor]) -> SignedTensor:
    for key in (name, f"{name}.mask"):
        if key not in tensors:
            raise TicketError(f"the file lacks the tensor {key}, which its header names")
    try:
        return SignedTensor(Role(role), tensors[name], tensors[f"{name}.mask"])
    except ValueError as error:
        raise TicketError(f"{name}: {error}") from error


def _write(ticket: Ticket, path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for name, tensor in ticket.tensors.items():
        for key, value in ((name, tensor.sign), (f"{name}.mask", tensor.mask)):
            if key in tensors:
                raise TicketError(f"{key}: two tensors would have this name")
            tensors[key] = value.contiguous()
    header = {
        "schema_version": SCHEMA_VERSION,
        "provenance": asdict(ticket.provenance),
        "roles": {name: tensor.role.value for name, tensor in ticket.tensors.items()},
    }
    save_file(tensors, path, {"format": "pt", HEADER: json.dumps(header)})


PARQUET = Format(
    "parquet",
    "this project's ticket.parquet",
    (".parquet",),
    lambda source: source.kind == "parquet",
    lambda source, hints: load(source.path),
    save,
    "nothing is lost",
    keeps_provenance=True,
)
MASKED = Format(
    "safetensors",
    "signs and masks as safetensors",
    (".safetensors",),
    _fits,
    _read,
    _write,
    "a tensor with the name of another tensor's mask (refused)",
    keeps_provenance=True,
)
