"""``python -m orchestrator.logs``: a stage's log, also while it is written, from a folder or a bucket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from orchestrator.operating.selection import find_stage
from orchestrator.operating.survey import survey
from orchestrator.store import Store, StoreError
from orchestrator.store.events import read_events
from orchestrator.store.layout import RECORD, StageFiles
from orchestrator.store.leases import LeaseWatch
from orchestrator.terminal.command import StageName, StorePath, console, new_app, one_sentence, open_existing

EXAMPLES = """
Examples:

  python -m orchestrator.logs sweeps mnist1d/resnet1d/aws/chain1/round07 -f

  python -m orchestrator.logs sweeps 3f2a --attempt 1 --json
"""
POLL_S = 0.5
POLL_A_BUCKET_S = 5.0
app = new_app()


@dataclass(frozen=True)
class Line:
    """One line of an attempt's log."""

    attempt: int
    text: str


@app.command(epilog=EXAMPLES)
def logs(
    store: StorePath,
    stage: StageName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the stage has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Which attempt's. Default: the newest.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print each line as a JSON object.")] = False,
) -> None:
    """Print a stage's log: of its newest attempt, and with -f of those that follow, until the stage has ended."""
    out = console()
    with one_sentence(), suppress(KeyboardInterrupt):
        opened = open_existing(store)
        seen = survey(opened)
        key = find_stage(seen.stages, seen.wanted, stage)
        name = seen.stages[key].name
        lines = _follow(opened, name, key, attempt) if follow else _read(opened, name, key, attempt)
        for line in lines:
            if json_:
                print(json.dumps({"attempt": line.attempt, "line": line.text}), flush=True)
            else:
                out.print(line.text)


def _read(store: Store, name: str, key: str, attempt: int | None) -> Iterator[Line]:
    stage = store.list_files(key)
    number = attempt or max(stage.attempts if stage is not None else [], default=0)
    if stage is None or number not in stage.attempts:
        raise StoreError(_no_attempt(name, stage, attempt))
    if f"attempts/{number}/log.txt" not in stage.files:
        raise StoreError(f"attempt {number} of {name} has written no log")
    yield from _Tail(store, f"{stage.folder}/attempts/{number}/log.txt", number).new(over=True)


def _no_attempt(name: str, stage: StageFiles | None, attempt: int | None) -> str:
    """Why there is nothing to read."""
    if stage is None or not stage.attempts:
        return f"{name} was not tried yet, so it has no log; while a driver is at work, -f waits for one"
    return f"{name} has no attempt {attempt}; it has {', '.join(map(str, stage.attempts))}"


def _follow(store: Store, name: str, key: str, attempt: int | None) -> Iterator[Line]:
    """Lines as they come: of one attempt until that has ended, else of the newest ones until the stage has."""
    watch = LeaseWatch(store.storage)
    tail: _Tail | None = None
    while True:
        stage = store.list_files(key)
        numbers = stage.attempts if stage is not None else []
        number = attempt or max(numbers, default=0)
        ended = _ended(store, watch, key, stage, number)
        if stage is not None and number in numbers:
            if tail is None or tail.attempt != number:
                if tail is not None:
                    yield from tail.new(over=True)
                tail = _Tail(store, f"{stage.folder}/attempts/{number}/log.txt", number)
            yield from tail.new(over=ended)
        if ended and tail is None:
            raise StoreError(_no_attempt(name, stage, attempt))
        if ended:
            return
        time.sleep(POLL_S if store.storage.folder is not None else POLL_A_BUCKET_S)


def _ended(store: Store, watch: LeaseWatch, key: str, stage: StageFiles | None, number: int) -> bool:
    """Whether nothing more is to come: it is done or given up, or nobody is left who would go on."""
    if stage is not None and RECORD in stage.files:
        return True
    living = watch.living()
    if stage is None or number not in stage.attempts:
        return not living
    folder = f"attempts/{number}"
    if number < stage.attempts[-1] or f"{folder}/interrupted.json" in stage.files:
        return True
    if f"{folder}/failure.json" in stage.files:
        return not living or _given_up(store, key, number)
    return store.holder(key) not in living


def _given_up(store: Store, key: str, attempt: int) -> bool:
    """Whether the driver said that it will not try again."""
    return any(
        event.get("event") == "failed" and event.get("key") == key and event.get("attempt") == attempt
        for event in read_events(store.storage)
        if not event.get("retry")
    )


class _Tail:
    """A log, from where it was read last. It is read whole each time: a bucket's has no other way, and it is small."""

    def __init__(self, store: Store, path: str, attempt: int) -> None:
        self._store, self._path, self.attempt = store, path, attempt
        self._read = 0

    def new(self, *, over: bool) -> Iterator[Line]:
        """The lines since; the last one without its end only when it is over."""
        try:
            content = self._store.storage.read(self._path)
        except FileNotFoundError:
            return
        end = len(content) if over else content.rfind(b"\n") + 1
        for text in content[self._read : end].decode(errors="replace").splitlines():
            yield Line(self.attempt, text)
        self._read = max(self._read, end)


if __name__ == "__main__":
    app()
