"""A folder for a model hub, written offline: a model card, and the ticket as Parquet and as safetensors.

The card is a ``README.md`` with YAML front matter, as Hugging Face's model cards have it. The front matter's key
``winning_sign`` holds the provenance and the SHA-256 of both files, which reading checks.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import yaml

from tickets.errors import TicketError
from tickets.files import digest
from tickets.formats.format import UNKNOWN, Format, Hints
from tickets.formats.source import Source
from tickets.formats.this_project import MASKED, PARQUET
from tickets.ticket import Ticket

CARD = "README.md"
TICKET_FILES = {"ticket.parquet": PARQUET, "ticket.safetensors": MASKED}
TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


def _fits(source: Source) -> bool:
    return source.kind == "folder" and (source.path / CARD).is_file() and (source.path / "ticket.parquet").is_file()


def _read(source: Source, hints: Hints) -> Ticket:
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
        _, front_matter, _ = card.read_text(encoding="utf-8").split("---\n", 2)
        return dict(yaml.safe_load(front_matter)["winning_sign"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise TicketError(f"{card}: its front matter lacks the SHA-256 of the ticket's files") from error


def _write(ticket: Ticket, path: Path) -> None:
    path.mkdir()
    for name, format_ in TICKET_FILES.items():
        format_.write(ticket, path / name)
    sums = {name: digest.sha256_of_file(path / name) for name in TICKET_FILES}
    (path / CARD).write_text(_card(ticket, sums), encoding="utf-8")


def _card(ticket: Ticket, sums: dict[str, str]) -> str:
    provenance = asdict(ticket.provenance)
    tags = ["pruning", "sparsity", "lottery-ticket", "signed-mask"]
    specific = [ticket.provenance.method, ticket.provenance.architecture]
    front_matter: dict[str, Any] = {
        "library_name": "pytorch",
        "tags": [*tags, *(text for text in specific if text != UNKNOWN)],
        "datasets": [text for text in [ticket.provenance.dataset] if text != UNKNOWN],
        "winning_sign": {**provenance, "sha256": sums},
    }
    masks = ticket.masks.values()
    alive, weights = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # markdown, not HTML
    environment.filters["line"] = _line
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        front_matter=yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=True),
        provenance=provenance,
        density=alive / max(weights, 1),
        alive=alive,
        weights=weights,
        layers=len(masks),
        sha256=sums,
    )


def _line(value: object) -> str:
    """A value as one line of Markdown, escaped so that it starts no table, link or HTML."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)


HUB = Format(
    "hub",
    "a folder for a model hub, with a model card",
    ("",),
    _fits,
    _read,
    _write,
    "as safetensors",
    keeps_provenance=True,
)
