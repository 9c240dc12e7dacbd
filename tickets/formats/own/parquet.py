"""This project's ``ticket.parquet``: see ``tickets.parquet``."""

from __future__ import annotations

from dataclasses import replace

from tickets.formats.format import Format, Hints
from tickets.formats.source import Source
from tickets.parquet import load, save
from tickets.ticket import Ticket


def _read(source: Source, hints: Hints) -> Ticket:
    ticket = load(source.path)
    return replace(ticket, provenance=replace(ticket.provenance, **hints.provenance))  # type: ignore[arg-type]


PARQUET = Format(
    "parquet",
    "this project's ticket.parquet",
    (".parquet",),
    lambda source: source.kind == "parquet",
    _read,
    save,
    "nothing is lost",
    keeps_provenance=True,
)
