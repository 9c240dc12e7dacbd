"""Judge what a command made of a mutated store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.faults.judge import Reference
from benchmarks.fuzz.mutations.fields import ESCAPE, MARKUP
from benchmarks.fuzz.warm import LIMIT_S, MOST_BYTES, Done
from benchmarks.fuzz.world import COMPARED, REPORT, SECRET
from orchestrator.store import Store
from workers.storage.schemas import TIMING

CODES = (0, 1, 2)
"""Exit codes of docs/commands.md that a command may have which nobody interrupts."""
TRACEBACK = re.compile(r"Traceback \(most recent call last\)|^\s+File \"[^\"]+\", line \d+|\w+Warning: ", re.MULTILINE)
WRITTEN_IN = ("store", "out", "cache", "tmp", "home")
"""A trial's folders that commands may change; the last two must be empty in the end, but for ``ALLOWED``."""
ALLOWED = ("home/.cache/winning-sign", "tmp/torchinductor_")
Contents = Mapping[str, tuple[int, int, int]]


def problems_of(done: Done) -> Iterator[str]:
    """Yield what is wrong with a command that has ended."""
    if done.code is None:
        yield f"time: longer than {LIMIT_S:.0f} s"
    elif done.code not in CODES:
        yield f"exit code: {done.code}: {_end(done.text)}"
    if found := TRACEBACK.search(done.text):
        yield f"traceback: {found[0].strip()} … {_end(done.text)}"
    if done.code in (1, 2) and not done.text.strip():
        yield f"silent: exit code {done.code} without a word"
    if done.memory_bytes > MOST_BYTES:
        yield f"memory: {done.memory_bytes / (1 << 20):.0f} MiB"
    if SECRET in done.text:
        yield "outside: printed a file outside the store"
    if ESCAPE[:4] in done.text or "\x1b[2J" in done.text:
        yield "escape: control characters reached the terminal"
    yield from done.acts


def problems_of_files(folder: Path, before: Contents) -> Iterator[str]:
    """Yield what is wrong with a trial's folder after its commands."""
    after = contents(folder)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"outside: {name} was written, changed or removed"
    if (folder / "outside" / "executed").exists():
        yield "executed: a program out of a file ran"
    left = sorted(
        path.relative_to(folder).as_posix() for name in ("tmp", "home") for path in (folder / name).rglob("*")
    )
    if left := [name for name in left if not name.startswith(ALLOWED) and name != "home/.cache"]:
        yield f"left behind: {', '.join(left[:3])}"
    for name in (REPORT, COMPARED):
        page = folder / name
        if page.is_file() and (MARKUP in (text := page.read_text(errors="replace")) or SECRET in text):
            yield f"markup: a text of the store became part of {name}, or a file outside did"


def problems_of_results(folder: Path, reference: Reference, finished: bool) -> Iterator[str]:
    """Yield differences between the results of a store whose files are not sealed anew, and an undisturbed sweep."""
    if not finished:
        return
    records = Store(folder / "store").records({})
    for key, expected in reference.records.items():
        record = records.get(key)
        if record is None:
            yield f"results: the sweep finished without a record of {expected.name}"
            continue
        for what in ("name", "kind", "labels", "science", "inputs", "results"):
            if getattr(record, what) != getattr(expected, what):
                yield f"results: {what} of {record.name} changed"
        for name, file in expected.files.items():
            if name != TIMING and record.files.get(name) != file:
                yield f"results: {name} of {record.name} changed"


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Describe everything of a trial's folder that no command may change: size, time and mode by path."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        status = path.lstat()
        free = name.partition("/")[0] in WRITTEN_IN or name == "work/batches" or "__pycache__" in name
        if not free and not path.is_dir():
            found[name] = status.st_size, status.st_mtime_ns, status.st_mode
    return found


def _end(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return " | ".join(line.strip()[:200] for line in lines[-4:])
