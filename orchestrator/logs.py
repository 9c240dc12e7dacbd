"""``winning-sign logs``: the log of a stage, also while the stage runs, from a folder or a bucket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import typer

from orchestrator.operating.selection import find_stage
from orchestrator.operating.survey import survey
from orchestrator.store import Store, StoreError
from orchestrator.store.events import read_events
from orchestrator.store.layout import RECORD, StageFiles
from orchestrator.store.leases import LeaseWatch
from orchestrator.terminal.command import STORE_ERRORS, StageName, open_existing
from workers.terminal.command import add_command, console, new_app, one_sentence, tell_left_out
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign logs sweeps mnist1d/resnet1d/aws/chain1/round07 -f
winning-sign logs sweeps 3f2a --attempt 1 --json
"""
POLL_S = 0.5
POLL_A_BUCKET_S = 5.0
app = new_app()


Line = tuple[int, str]
"""An attempt's number, and one line of its log."""


@add_command(app, EXAMPLES)
def logs(
    store: StorePath,
    stage: StageName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the stage has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Attempt to print. Default: the newest.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print each line as a JSON object.")] = False,
) -> None:
    """Print the log of a stage.

    Prints the log of the newest attempt; with -f also the logs of later attempts, until the stage has ended.
    """
    out = console()
    with one_sentence(*STORE_ERRORS), suppress(KeyboardInterrupt):
        opened = open_existing(store)
        surveyed = survey(opened)
        tell_left_out(surveyed.damaged_plans | surveyed.left_out, store)
        key = find_stage(surveyed.stages, surveyed.wanted, stage)
        name = surveyed.stages[key].name
        lines = _follow(opened, name, key, attempt) if follow else _read(opened, name, key, attempt)
        for number, line in lines:
            if json_:
                print(json.dumps({"attempt": number, "line": line}), flush=True)
            else:
                out.print(line)


def _read(store: Store, name: str, key: str, attempt: int | None) -> Iterator[Line]:
    stage = store.list_files(key)
    number = attempt or max(stage.attempts if stage is not None else [], default=0)
    if stage is None or number not in stage.attempts:
        raise StoreError(_no_attempt(name, stage, attempt))
    if f"attempts/{number}/log.txt" not in stage.files:
        raise StoreError(f"attempt {number} of {name} has written no log")
    yield from _Tail(store, f"{stage.folder}/attempts/{number}/log.txt", number).new(over=True)


def _no_attempt(name: str, stage: StageFiles | None, attempt: int | None) -> str:
    """Explain why no log can be read."""
    if stage is None or not stage.attempts:
        return f"{name} was not tried yet, so it has no log; while a driver is at work, -f waits for the log"
    return f"{name} has no attempt {attempt}; it has {', '.join(map(str, stage.attempts))}"


def _follow(store: Store, name: str, key: str, attempt: int | None) -> Iterator[Line]:
    """Yield new lines: of one attempt until its end, else of each newest attempt until the end of the stage."""
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
    """Whether the log is complete: the stage is done or given up, or no living driver works on it."""
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
    """Whether the driver recorded that it will not retry."""
    return any(
        event.get("event") == "failed" and event.get("key") == key and event.get("attempt") == attempt
        for event in read_events(store.storage)
        if not event.get("retry")
    )


class _Tail:
    """The unread end of a log. Each read takes the whole file: a log is small, and a bucket offers no other way."""

    def __init__(self, store: Store, path: str, attempt: int) -> None:
        self._store, self._path, self.attempt = store, path, attempt
        self._read = 0

    def new(self, *, over: bool) -> Iterator[Line]:
        """Yield the lines since the last call; a last line without its newline only when the log is complete."""
        try:
            content = self._store.storage.read(self._path)
        except FileNotFoundError:
            return
        end = len(content) if over else content.rfind(b"\n") + 1
        for text in content[self._read : end].decode(errors="replace").splitlines():
            yield self.attempt, text
        self._read = max(self._read, end)


if __name__ == "__main__":
    app()
