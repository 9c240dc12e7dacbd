"""What the commands that read or mend a store share."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.store import Store, StoreError

StageName = Annotated[
    str,
    typer.Argument(
        metavar="STAGE", help="Name of a stage, a part or pattern of the name, or the first digits of its key."
    ),
]
STORE_ERRORS = (StoreError, OSError)
"""What can be wrong with a store, as a sentence."""


def open_existing(path: str) -> Store:
    """Open a store; StoreError if no store lies at this path."""
    store = Store(path)
    store.require()
    return store
