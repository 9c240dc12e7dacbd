"""Choose the tickets of stores that a zoo shows, with their accuracies; whatever does not verify is left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparisons.measures import of_tickets
from analysis.frames.load import load
from analysis.frames.sections import sections
from analysis.frames.several import Reader, open_reader
from orchestrator.store import StoreError
from orchestrator.store.record import Record
from tickets import Ticket, TicketError
from tickets.files import digest
from tickets.files.zoo.index import STARTS
from tickets.formats.zoo import Exhibit
from tickets.inspection import faults
from tickets.parquet import load as load_ticket
from workers.storage import schemas


@dataclass
class Chosen:
    """Tickets for a zoo.

    Attributes:
        left_out: a sentence for each file or stage that does not verify.
        without_accuracy: number of tickets that no final training started from, and that were therefore not chosen.
    """

    exhibits: list[Exhibit] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    without_accuracy: int = 0


def chosen(stores: Iterable[Path | str], *, all_rounds: bool = False) -> Chosen:
    """Read stores as one, and choose the tickets that their chains found, without superseded ones.

    Args:
        all_rounds: also tickets that no final training started from.

    Raises:
        StoreError: a store does not exist, or they have no ticket of a pruning round.
    """
    reader = open_reader(stores)
    frames = load(reader, tickets=False, leave_out=True)
    choice = Chosen(left_out=list(frames.left_out.values()))
    for row in frames.disagreements.to_dict("records"):
        choice.left_out.append(
            f"{row['name']} of {row['other_store']} differs from {row['store']}'s in {row['differs']}; the first counts"
        )
    records, number = reader.records({}, relist=False), 0
    for section in sections(frames):
        for row in of_tickets(section, STARTS).to_dict("records"):
            number += 1
            facts = {str(name): None if pd.isna(value) else value for name, value in row.items()}
            if not all_rounds and all(facts[f"{start}_accuracy_percent"] is None for start in STARTS):
                choice.without_accuracy += 1
                continue
            record = records[str(facts["key"])]
            try:
                ticket = _verified(reader, record)
            except (StoreError, TicketError, OSError) as error:
                choice.left_out.append(f"{record.name}: {error}")
                continue
            choice.exhibits.append(Exhibit(ticket, _facts(record, facts)))
    if not number and not choice.left_out:
        raise StoreError(f"{reader.root} has no ticket of a pruning round; sweep first")
    return choice


def _verified(reader: Reader, record: Record) -> Ticket:
    """Read a stage's ticket; an error unless all its files are there, and the ticket's is the one that it recorded."""
    if damage := reader.damage(record.key):
        raise StoreError(damage)
    [path] = reader.local([(record.key, schemas.TICKET)]).values()
    if digest.of_file(path) != record.files[schemas.TICKET].blake2b:
        raise StoreError(f"{path} differs from its record; winning-sign verify quarantines it")
    ticket = load_ticket(path)
    if wrong := faults(ticket):
        raise TicketError(f"{path}: {wrong[0]}")
    return ticket


def _facts(record: Record, facts: dict[str, Any]) -> dict[str, Any]:
    labels, data = record.labels, record.science.get("setting", {}).get("data", {})
    setting = {"dataset": labels.dataset, "architecture": labels.architecture, "preset": labels.preset}
    return {**facts, **setting, "data_fingerprint": data.get("fingerprint")}
