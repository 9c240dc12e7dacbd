"""The commands of a trial: every reader, then the sweep again, then what mends a store."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import quote

from benchmarks.fuzz.mutations import Mutated
from benchmarks.fuzz.warm import Done, run
from benchmarks.fuzz.world import COMPARED, OTHER, REPORT, WHERE, landscape_words, sweep_words, tickets_of
from tickets.formats import FORMATS

SERVE_S = 20.0
SHARES = {
    "judge": 0.3,
    "checks": 0.3,
    "report": 0.15,
    "report --export": 0.05,
    "report --compare": 0.1,
    "serve": 0.04,
    "landscape": 0.08,
    "run": 0.1,
}
"""Shares of the trials in which the costly commands run, so that 2,000 trials take an hour on two cores."""


def run_commands(folder: Path, names: Sequence[str], mutated: Mutated, draw: Random) -> Iterator[Done]:
    """Run all commands in a trial's folder."""
    for label, words in readers(folder, names, mutated, draw):
        if draw.random() < SHARES.get(label, 1):
            yield run(label, words, folder)
    if draw.random() < SHARES["serve"]:
        yield serve(folder, mutated)
    yield (done := run("sweep", sweep_words(), folder))
    if done.code != 0:
        yield run("verify", ["verify", "store"], folder)
        yield run("sweep after verify", sweep_words(), folder)
    for label, words in menders(folder, names, draw):
        if draw.random() < SHARES.get(label, 1):
            yield run(label, words, folder)


def readers(folder: Path, names: Sequence[str], mutated: Mutated, draw: Random) -> Iterator[tuple[str, list[str]]]:
    """Yield commands that change nothing, by label."""
    json = draw.choice([[], ["--json"]])
    name = draw.choice(names)
    yield "status", ["status", "store", *json]
    yield "why", ["why", "store", name, *json]
    yield "logs", ["logs", "store", name, *json]
    yield "verify --check-only", ["verify", "store", "--check-only", *json]
    yield "gc", ["gc", "store", *draw.choice([[], ["--superseded"], ["--keep-weights"]]), *json]
    yield "judge", ["judge", "store", *json]
    yield "checks", ["checks", "store", *json]
    published = draw.choice([[], ["--published", "work/published.csv"]])
    yield "report", ["report", "store", "--out", REPORT, *published]
    yield "report --export", ["report", "store", "--export", "out/numbers"]
    stores = draw.sample(["store", OTHER], 2)
    compared = ["--out", COMPARED, "--export", "out/numbers"]
    yield "report --compare", ["report", *stores, "--compare", *compared]
    yield "sweep --plan", [*sweep_words(), "--plan", *json]
    tickets = [path.relative_to(folder).as_posix() for path in tickets_of(folder)]
    touched = [ticket for ticket in tickets if any(path.is_relative_to(folder / ticket) for path in mutated.files)]
    ticket = draw.choice(touched or tickets or ["tickets/none"])
    other = draw.choice(tickets or ["tickets/none"])
    yield "tickets show", ["tickets", "show", "--", ticket] if not json else ["tickets", "show", "--json", "--", ticket]
    yield "tickets verify", ["tickets", "verify", "--", ticket, other]
    yield "tickets diff", ["tickets", "diff", *json, "--", ticket, other]
    yield "tickets convert", ["tickets", "convert", "--to", draw.choice(sorted(FORMATS)), "--", ticket, "out/converted"]


def menders(folder: Path, names: Sequence[str], draw: Random) -> Iterator[tuple[str, list[str]]]:
    """Yield commands that compute or mend, by label."""
    trained = [
        name for name in names if re.search(r"seed1(/twin)?$", name) and "lmc" not in name and "stab" not in name
    ]
    yield "landscape", landscape_words(draw.sample(trained, 3))
    stages = sorted(folder.glob("store/stages/*/*/stage.json"))
    if stages:
        stage = draw.choice(stages).relative_to(folder)
        yield "run", ["run", str(stage), "--out", "out/run", *WHERE]
    yield "unlock", ["unlock", "store", "--stale"]
    yield "gc --delete", ["gc", "store", "--delete"]
    yield "cancel", ["cancel", "store"]
    yield "status at the end", ["status", "store"]


def serve(folder: Path, mutated: Mutated) -> Done:
    """Serve the store, ask for the page, the state and the mutated files, and end the server with SIGINT."""
    paths = [
        path.relative_to(folder / "store").as_posix() for path in mutated.files if (folder / "store") in path.parents
    ]
    asked = ["/", "/state.json", *(f"/store/{quote(path)}" for path in paths), "/store/../outside/secret.txt"]
    answers: list[str] = []

    def ask(output: Path) -> None:
        until = time.monotonic() + SERVE_S
        while time.monotonic() < until:
            if address := re.search(r"http://127\.0\.0\.1:(\d+)/", output.read_text(errors="replace")):
                answers.extend(_answers(int(address[1]), asked, until))
                return
            time.sleep(0.01)

    done = run("serve", ["serve", "store", "--port", "0", "--every", "0.2"], folder, until=ask)
    text = f"{done.text}\n{''.join(answers)}"
    return Done(done.label, done.code, text, done.seconds, done.memory_bytes, done.acts)


def _answers(port: int, paths: Sequence[str], until: float) -> Iterator[str]:
    """Yield the answers; the first path is asked for until the page is there."""
    for path in paths:
        while True:
            status = 0
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SERVE_S)
                connection.request("GET", path)
                answer = connection.getresponse()
                status = answer.status
                body = answer.read().decode(errors="replace")
                connection.close()
                if status != 503:
                    yield body
            if status != 503 or time.monotonic() > until:
                break
            time.sleep(0.05)
