"""Find the ticket of a sweep's stage in a store's folder, by the stage's name or key.

This room imports no other one, so it reads the few fields of ``record.json`` that it needs by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tickets.errors import TicketError
from tickets.files import digest
from tickets.files.home import expanded
from tickets.files.reading import parse_json, read_regular
from tickets.registry import unknown

TICKET = "ticket.parquet"
KINDS = ("pretrain", "round")
"""The kinds of stages that make tickets; round 0 is of the first."""
_KEY = re.compile("[0-9a-f]{8,32}")
_OUT = re.compile(r"out|attempts/[1-9][0-9]{0,8}/out")
AT_MOST = 20
"""Choices that a message lists."""


@dataclass(frozen=True)
class _Made:
    """A committed ticket; ``digest`` is the record's, of the ticket's file."""

    name: str
    key: str
    path: Path
    digest: str


def is_selected(name: str, key: str, stage: str) -> bool:
    """Whether a user's word means a stage: its name, the end of it from a "/" on, a pattern of one, or 8 of its digits.

    >>> is_selected("mnist1d/resnet1d/aws/chain1/round10", "3f…", "aws/*/round10")
    True
    """
    ends = f"/{name}".endswith(f"/{stage}") or fnmatchcase(f"/{name}", f"*/{stage}")
    return ends or (len(stage) >= 8 and key.startswith(stage))


def ticket_of_stage(store: Path | str, stage: str) -> Path:
    """Return the path of the ticket that a stage of a store made.

    Args:
        store: a store's folder.
        stage: the stage's name, or its end from a "/" on, such as "aws/chain1/round10"; or at least the first 8 digits
            of its key.

    Raises:
        TicketError: the folder is no store, no stage or several stages have this name, or the file is not the one that
            the stage's record lists. The message names the stages that were meant, or the remedy.
    """
    root = _root(store)
    tickets_by_key: dict[str, _Made] = {}
    damaged: list[Path] = []
    for record in sorted(path for kind in KINDS for path in (root / "stages" / kind).glob("*/record.json")):
        try:
            ticket = _read(record)
            tickets_by_key.setdefault(ticket.key, ticket)
        except (OSError, ValueError, LookupError, TypeError):
            damaged.append(record)
    named = [each for each in tickets_by_key.values() if f"/{each.name}".endswith(f"/{stage}")]
    if not named and _KEY.fullmatch(stage):
        named = [each for each in tickets_by_key.values() if each.key.startswith(stage)]
    if not named:
        raise TicketError(f"{root}: {_nothing(root, stage, tickets_by_key, damaged)}")
    if len(named) > 1:
        raise TicketError(f"{root}: {len(named)} stages are named {stage!r}; choose {_choices(named)}")
    return _checked(named[0])


def _root(store: Path | str) -> Path:
    if "://" in str(store):
        raise TicketError(
            f"{store} is a bucket; copy the ticket.parquet of the stage from there, and load that file without a stage"
        )
    root = expanded(store)
    if not (root / "stages").is_dir():
        raise TicketError(f"{root} is no store with stages; give the folder that a sweep's --store named")
    return root


def _read(record: Path) -> _Made:
    content: dict[str, Any] = parse_json(read_regular(record))
    name, key, out = str(content["name"]), str(content["key"]), str(content.get("out", "out"))
    if not (_KEY.fullmatch(key) and _OUT.fullmatch(out)):
        raise ValueError(f"{record} is no valid record")
    return _Made(name, key, record.parent / out / TICKET, str(content["files"][TICKET]["blake2b"]))


def _nothing(root: Path, stage: str, made: dict[str, _Made], damaged: list[Path]) -> str:
    if damaged:
        return (
            f"no readable record is of a stage {stage!r}, and {len(damaged)} of {len(damaged) + len(made)} records "
            f"cannot be read, such as {damaged[0]}; winning-sign verify {root} quarantines them"
        )
    if not made:
        return "no stage has made a ticket yet; wait until a sweep has trained a dense network"
    depth = stage.count("/") + 1
    names = {"/".join(each.name.split("/")[-depth:]) for each in made.values()}
    return unknown("stage", stage, get_close_matches(stage, names, n=AT_MOST, cutoff=0))


def _choices(found: list[_Made]) -> str:
    """List names that differ; the digits of keys where they do not."""
    names = [each.name for each in found]
    shown = sorted(each.key[:16] if names.count(each.name) > 1 else each.name for each in found)
    more = f" or one of {len(shown) - AT_MOST} more" if len(shown) > AT_MOST else ""
    return " or ".join(shown[:AT_MOST]) + more


def _checked(made: _Made) -> Path:
    try:
        content = digest.of_file(made.path)
    except FileNotFoundError as error:
        raise TicketError(f"{made.path} is missing, though {made.name} is done; repeat the sweep's command") from error
    except OSError as error:
        raise TicketError(f"{made.path} cannot be read: {error}") from error
    if content != made.digest:
        raise TicketError(
            f"{made.path} is not the file that the record of {made.name} lists; winning-sign verify quarantines the "
            f"record, and the next sweep computes the stage again"
        )
    return made.path
