"""Read the stores that a command names; stderr names what is left out, and where two stores differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from analysis.frames.load import Frames, load
from analysis.frames.several import Reader, SeveralStores, open_reader
from orchestrator.store import StoreError
from workers.terminal.command import console, tell_left_out

Stores = Path | str | Iterable[Path | str]


def read(
    stores: Stores | Reader,
    *,
    tickets: bool = True,
    published: Path | None = None,
    done: bool = False,
    copy: bool = False,
) -> tuple[Reader, Frames]:
    """Read one store, or several as one, for a command.

    Args:
        tickets, published, copy: see ``analysis.load``.
        done: refuse stores without a finished stage; else a planned stage is enough.

    Raises:
        StoreError: a store does not exist, or they have no stages.
        PublishedError: the file with published results is none, or does not fit the stores.
        OSError: a file cannot be read.
    """
    reader = open_reader(stores)
    frames = load(reader, tickets=tickets, published=published, leave_out=True, copy=copy)
    tell_left_out(frames.left_out, "STORE" if isinstance(reader, SeveralStores) else reader.root)
    for row in frames.disagreements.to_dict("records"):
        differ = f"{row['store']} and {row['other_store']} differ in {row['differs']}"
        console(stderr=True).print(f"{row['name']}: {differ}; the first counts")
    if frames.stages.empty and (done or frames.planned == 0):
        nothing = "no stage is done in this folder" if done else "this folder has no stages"
        raise StoreError(f"{reader.root}: {nothing}; give the folder of a sweep's store")
    return reader, frames
