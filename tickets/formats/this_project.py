"""This project's formats: Parquet (``tickets.parquet``), safetensors, and a folder for a model hub, written offline.

The safetensors are, for each parameter ``NAME``, the signs in int8, and ``NAME.mask``, a bool. The metadata
``winning_sign`` is JSON with ``schema_version``, ``provenance``, and ``roles`` by name in the network's order. Files
without it are read if weights have a ``NAME.mask``; their roles are inferred.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tickets.errors import TicketError
from tickets.files import digest
from tickets.files.reading import parse_json, read_regular
from tickets.formats.format import UNKNOWN, Format, Hints
from tickets.formats.source import Source
from tickets.formats.state_dict import Naming, has_masks, read_masked
from tickets.parquet import load, save
from tickets.roles import Role
from tickets.signed import SignedTensor
from tickets.ticket import SCHEMA_VERSION, Provenance, Ticket

NAMING = Naming(mask="{}.mask")
HEADER = "winning_sign"
CARD, MOST_CARD_BYTES = "README.md", 1 << 20
TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


def _fits_masked(source: Source) -> bool:
    return source.kind == "safetensors" and (HEADER in source.metadata or has_masks(source, NAMING))


def _read_masked(source: Source, hints: Hints) -> Ticket:
    if HEADER not in source.metadata:
        return read_masked(NAMING, source, hints)
    try:
        header: dict[str, Any] = parse_json(source.metadata[HEADER])
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


def _write_masked(ticket: Ticket, path: Path, _: Collection[str]) -> None:
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
    # one entry: safetensors writes several in any order, and equal tickets are equal files
    save_file(tensors, path, {HEADER: json.dumps(header)})


PARQUET = Format(
    "parquet",
    "this project's ticket.parquet",
    (".parquet",),
    lambda source: source.kind == "parquet",
    lambda source, hints: load(source.path),
    lambda ticket, path, _: save(ticket, path),
    "nothing is lost",
    keeps_provenance=True,
)
MASKED = Format(
    "safetensors",
    "signs and masks as safetensors",
    (".safetensors",),
    _fits_masked,
    _read_masked,
    _write_masked,
    "a tensor with the name of another tensor's mask (refused)",
    keeps_provenance=True,
)
TICKET_FILES = {"ticket.parquet": PARQUET, "ticket.safetensors": MASKED}


def _fits_hub(source: Source) -> bool:
    return source.kind == "folder" and (source.path / CARD).is_file() and (source.path / "ticket.parquet").is_file()


def _read_hub(source: Source, hints: Hints) -> Ticket:
    sums = _checksums(source.path / CARD)
    read = []
    for name, format_ in TICKET_FILES.items():
        path = source.path / name
        if not path.is_file():
            raise TicketError(f"{path} is missing, though the card names it")
        if digest.sha256_of_file(path) != sums.get(name):
            raise TicketError(f"{path} is not the file that the card lists: its SHA-256 differs")
        read.append(format_.read(Source(path), Hints()))
    first, other = read
    if first != other:
        raise TicketError(f"{source.path}: ticket.parquet and ticket.safetensors hold different tickets")
    return first


def _checksums(card: Path) -> dict[str, Any]:
    try:
        _, front_matter, _ = read_regular(card, MOST_CARD_BYTES).decode().split("---\n", 2)
        return dict(yaml.safe_load(front_matter)["winning_sign"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise TicketError(f"{card}: its front matter lacks the SHA-256 of the ticket's files") from error


def write_hub(ticket: Ticket, path: Path, licence: str | None = None, facts: Mapping[str, str] | None = None) -> None:
    """Write a folder for a model hub; the path does not exist.

    Args:
        licence: an identifier for the card's front matter, such as "cc-by-4.0".
        facts: more lines for the card's table, such as accuracies, by their names.
    """
    path.mkdir(parents=True)
    for name, format_ in TICKET_FILES.items():
        format_.write(ticket, path / name, ())
    sums = {name: digest.sha256_of_file(path / name) for name in TICKET_FILES}
    (path / CARD).write_text(_card(ticket, sums, licence, facts or {}), encoding="utf-8")


def _card(ticket: Ticket, sums: dict[str, str], licence: str | None, facts: Mapping[str, str]) -> str:
    provenance = asdict(ticket.provenance)
    tags = ["pruning", "sparsity", "lottery-ticket", "signed-mask"]
    specific = [ticket.provenance.method, ticket.provenance.architecture]
    front_matter: dict[str, Any] = {
        **({"license": licence} if licence else {}),
        "library_name": "pytorch",
        "tags": [*tags, *(text for text in specific if text != UNKNOWN)],
        "datasets": [text for text in [ticket.provenance.dataset] if text != UNKNOWN],
        "winning_sign": {**provenance, "sha256": sums},
    }
    alive, weights = ticket.weight_counts
    return render_card(
        TEMPLATE,
        front_matter,
        provenance={**provenance, **facts},
        density=alive / max(weights, 1),
        alive=alive,
        weights=weights,
        layers=len(ticket.masks),
        sha256=sums,
    )


def render_card(template: Path, front_matter: Mapping[str, Any], **values: Any) -> str:
    """Render a card; its template writes values of other origin through the filter ``line``."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # markdown, not HTML
    environment.filters["line"] = _line
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        front_matter=yaml.safe_dump(dict(front_matter), sort_keys=False, allow_unicode=True), **values
    )


def _line(value: object) -> str:
    """A value as one line of Markdown, escaped so that it starts no table, link or HTML."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)


HUB = Format(
    "hub",
    "a folder for a model hub, with a model card",
    ("",),
    _fits_hub,
    _read_hub,
    lambda ticket, path, _: write_hub(ticket, path),
    "as safetensors",
    keeps_provenance=True,
)
"""A model card, and the ticket as Parquet and as safetensors.

The card is a ``README.md`` with YAML front matter, as Hugging Face's model cards have it. The front matter's key
``winning_sign`` holds the provenance and the SHA-256 of both files, which reading checks.
"""
