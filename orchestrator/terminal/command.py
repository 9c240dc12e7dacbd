"""What the commands that watch and mend a store share: their arguments, their errors, and how they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.markup import escape

from orchestrator.store import Store, StoreError
from workers.terminal.console import Console

StorePath = Annotated[str, typer.Argument(metavar="STORE", help="The folder or URL of a sweep's store.")]
StageName = Annotated[
    str, typer.Argument(metavar="KEY|NAME", help="A stage's name, a part or pattern of it, or its key's first digits.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def new_app() -> typer.Typer:
    """A command line of one command."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@contextmanager
def one_sentence(*others: type[Exception]) -> Iterator[None]:
    """Errors of the store, and others that have a sentence, as that sentence and exit code 2."""
    expected: tuple[type[Exception], ...] = (OSError, StoreError, *others)
    try:
        yield
    except expected as error:
        _fail(str(error))


def _fail(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False)
    raise typer.Exit(2)


def open_existing(path: str) -> Store:
    """A store that is there.

    Raises:
        StoreError: there is none.
    """
    store = Store(path)
    if not store.exists():
        raise StoreError(f"{path}: there is no such store; give the folder or the URL of a sweep's store")
    return store


def console() -> Console:
    """Where a command prints; nothing that comes from a store is ever taken for markup."""
    return Console(soft_wrap=True, markup=False, highlight=False, emoji=False)


def print_json(document: Any) -> None:
    """One JSON document."""
    print(json.dumps(document, indent=1, ensure_ascii=True))
