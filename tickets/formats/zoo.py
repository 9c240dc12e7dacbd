"""Write a zoo: a folder of tickets with an index, a card for each and for all, and the SHA-256 of every file.

The same tickets give the same bytes, so that a zoo can be published anew and only what changed is copied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tickets.errors import TicketError
from tickets.files import digest
from tickets.files.zoo.index import INDEX, SCHEMA, STARTS, SUMS, read_sums
from tickets.files.zoo.places import is_zoo
from tickets.formats import placed
from tickets.formats.format import Hints
from tickets.formats.source import Source
from tickets.formats.this_project import CARD, HUB, render_card, write_hub
from tickets.ticket import Ticket

TEMPLATE = Path(__file__).with_name("zoo_card.md.jinja")
TICKET = "ticket.parquet"
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}")
_GROUP = ("dataset", "architecture", "preset", "method", "round")


@dataclass(frozen=True)
class Exhibit:
    """A ticket for a zoo.

    Attributes:
        facts: the columns of the index from ``name`` to ``data_fingerprint``; what was not measured is None.
    """

    ticket: Ticket
    facts: Mapping[str, Any]


def check_target(folder: Path, licence: str, *, force: bool = False) -> None:
    """Raise TicketError, before any work, unless a zoo can be written to a folder under a licence."""
    if not _LICENCE.fullmatch(licence):
        raise TicketError(
            f"{licence!r} is no identifier of a licence; give one of spdx.org/licenses, such as cc-by-4.0 or cc0-1.0"
        )
    if not folder.parent.is_dir():
        raise TicketError(f"{folder.parent} is no folder; create it first")
    if not folder.exists():
        return
    if not is_zoo(folder):
        raise TicketError(f"{folder} exists and is no zoo; give a new folder's name")
    if not force:
        raise TicketError(f"{folder} exists; give another name, or --force to replace the whole zoo")
    if lost := _not_of_the_zoo(folder):
        raise TicketError(f"{folder} holds {lost[0]}, which would be lost; move it, or give another name")


def write_zoo(folder: Path, exhibits: Sequence[Exhibit], licence: str, *, force: bool = False) -> None:
    """Write a zoo under a temporary name beside its place, and rename it; each ticket is read back and compared.

    Args:
        force: replace a zoo that is there, as a whole.

    Raises:
        TicketError: the folder exists, or cannot be written; it is then unchanged.
    """
    check_target(folder, licence, force=force)
    placed(
        folder,
        lambda place: _write(place, exhibits, licence.lower()),
        force=force,
        lost=lambda old, new: _not_of_the_zoo(old),
    )


def _not_of_the_zoo(folder: Path) -> list[str]:
    listed = {*read_sums(folder / SUMS), SUMS}
    paths = (
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    )
    return sorted(path for path in paths if path not in listed)


def _write(place: Path, exhibits: Sequence[Exhibit], licence: str) -> None:
    place.mkdir()
    rows = []
    for exhibit in sorted(exhibits, key=lambda each: (each.facts["name"], each.facts["key"])):
        where = place / _path(exhibit.facts["name"])
        if where.exists():
            where = where.with_name(f"{where.name}-{exhibit.facts['key'][:8]}")
        write_hub(exhibit.ticket, where, licence, _about(exhibit.facts))
        if HUB.read(Source(where), Hints()) != exhibit.ticket:
            raise TicketError(f"{exhibit.facts['name']} is not read back as it was written")
        file = where / TICKET
        rows.append(
            {
                **exhibit.facts,
                "licence": licence,
                "path": file.relative_to(place).as_posix(),
                "sha256": digest.sha256_of_file(file),
                "size_bytes": file.stat().st_size,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), place / INDEX)
    (place / CARD).write_text(_card(rows, licence), encoding="utf-8")
    files = sorted(path for path in place.rglob("*") if path.is_file())
    sums = [f"{digest.sha256_of_file(path)}  {path.relative_to(place).as_posix()}\n" for path in files]
    (place / SUMS).write_text("".join(sums), encoding="utf-8")


def _path(name: str) -> str:
    """A stage's name as a path of plain letters, which every web server and file system can hold."""
    parts = (re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.")[:80] for part in name.split("/"))
    return "/".join(part or "x" for part in parts)


def _about(facts: Mapping[str, Any]) -> dict[str, str]:
    about = {"chain": str(facts["chain"])}
    for start in STARTS:
        if facts[f"{start}_accuracy_percent"] is not None:
            about[f"test accuracy, {start}"] = f"{facts[f'{start}_accuracy_percent']:.2f} %"
            about[f"mean over chains, {start}"] = _mean(facts, start)
    return about


def _mean(facts: Mapping[str, Any], start: str) -> str:
    mean, low, high, chains = (
        facts[f"{start}_{name}"] for name in ("mean_percent", "low_percent", "high_percent", "chains")
    )
    if mean is None:
        return ""
    interval = f" ({low:.2f} to {high:.2f})" if low is not None else ""
    return f"{mean:.2f}{interval}, {chains} {'chain' if chains == 1 else 'chains'}"


def _card(rows: Sequence[Mapping[str, Any]], licence: str) -> str:
    table = []
    ordered = sorted(rows, key=lambda row: [row[name] for name in _GROUP])
    for labels, group in groupby(ordered, key=lambda row: [row[name] for name in _GROUP]):
        of_group = list(group)
        density = sum(row["density"] for row in of_group) / len(of_group)
        table.append([*labels, f"{density:.3g}", len(of_group), *(_mean(of_group[0], start) for start in STARTS)])
    front_matter = {
        "license": licence,
        "library_name": "pytorch",
        "tags": ["pruning", "sparsity", "lottery-ticket", "signed-mask"],
        "datasets": sorted({row["dataset"] for row in rows}),
    }
    return render_card(TEMPLATE, front_matter, tickets=len(rows), licence=licence, rows=table, example=rows[0]["name"])
