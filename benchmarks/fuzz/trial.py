"""Run one trial: a copy of the world, mutated; all commands; their judge."""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.commands import run_commands
from benchmarks.fuzz.judge import contents, problems_of, problems_of_files, problems_of_results
from benchmarks.fuzz.mutations import Mutated, mutate
from benchmarks.fuzz.world import World


@dataclass
class Result:
    """A trial's outcome.

    Attributes:
        codes: exit codes by command.
        problems: what is wrong, each with its command.
        most_bytes: largest resident set of a command.
    """

    seed: int
    kind: str
    said: tuple[str, ...]
    seconds: float = 0.0
    codes: dict[str, int | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    most_bytes: int = 0
    longest_s: float = 0.0

    @property
    def finished(self) -> str:
        """When the sweep finished: at once, after verify, or not."""
        if self.codes.get("sweep") == 0:
            return "at once"
        return "after verify" if self.codes.get("sweep after verify") == 0 else "not"


def run_trial(world: World, seed: int, folder: Path) -> Result:
    """Run a trial in a new folder; the folder stays only if the trial found a problem."""
    began = time.monotonic()
    draw = Random(seed)
    world.copy(folder)
    files, said, kind, sealed = apart(lambda: _mutate(folder, draw.randrange(1 << 62)), seed)
    mutated = Mutated(kind, tuple(map(Path, files)), tuple(said), sealed)
    draw = Random(seed + 1)
    before = contents(folder)
    result = Result(seed, mutated.kind, mutated.said)
    for done in run_commands(folder, world.names, mutated, draw):
        result.codes[done.label] = done.code
        result.most_bytes = max(result.most_bytes, done.memory_bytes)
        result.longest_s = max(result.longest_s, done.seconds)
        result.problems += [f"{done.label}: {problem}" for problem in problems_of(done)]
    result.problems += problems_of_files(folder, before)
    if not mutated.sealed and mutated.kind != "recipe":
        finished = result.finished != "not"
        result.problems += apart(lambda: list(problems_of_results(folder, world.reference, finished)), seed)
    if not result.problems:
        shutil.rmtree(folder)
    result.seconds = time.monotonic() - began
    return result


def _mutate(folder: Path, seed: int) -> tuple[list[str], list[str], str, bool]:
    mutated = mutate(folder, Random(seed))
    return [str(path) for path in mutated.files], list(mutated.said), mutated.kind, mutated.sealed


def apart(act: Callable[[], Any], seed: int) -> Any:
    """Return a function's plain value, computed in a fork: what it starts or keeps in memory ends with it.

    Raises:
        RuntimeError: the function raised.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            value, failed = act(), ""
        except BaseException:
            value, failed = None, traceback.format_exc()
        with os.fdopen(writing, "w") as file:
            file.write(json.dumps([value, failed]))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(child, 0)
    value, failed = json.loads(text)
    if failed:
        raise RuntimeError(f"trial {seed}: the fuzzer itself failed:\n{failed}")
    return value
