"""Mutate command lines: bad values, repeated, unknown and incomplete options, as the commands themselves declare them.

A mutated line must not begin real work. So each command starts from words that it refuses anyway, such as a store that
does not exist; only ``sweep`` starts from a line that is fine, with ``--plan``, and must refuse each bad value itself.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel

from benchmarks.fuzz.judge import problems_of
from benchmarks.fuzz.warm import Done, run
from benchmarks.table import print_table
from orchestrator.__main__ import SUB_COMMANDS
from orchestrator.recipes.recipe import Recipe

PLAN = "sweep"
BASE = {
    PLAN: "--datasets mnist1d --backend inline --device cpu --store store --data-cache cache --plan",
    "search": "--dataset mnist2d",
    "landscape": "none a b c",
    "run": "none.json --out out",
    "status": "none",
    "why": "none name",
    "logs": "none name",
    "export": "none --to tensorboard",
    "report": "none",
    "serve": "none --published none.csv",
    "judge": "none",
    "checks": "none",
    "tickets show": "none.parquet",
    "tickets diff": "none.parquet other.parquet",
    "tickets convert": "none.parquet converted.parquet",
    "tickets verify": "none.parquet",
    "cancel": "none",
    "verify": "none",
    "gc": "none",
    "unlock": "none --stale",
    "spot-notice": "azure",
}
"""By command, words that it plans with or refuses."""
NO_NUMBERS = (
    *("", " ", "abc", "1_0", "٣", "²", "nan", "inf", "0x10", "1,5", "1:30", "true", "--"),
    *("1" * 5000, "1e400", "\x1b[2J"),
)
NO_WHOLE_NUMBERS = (*NO_NUMBERS, "1.0", "1e3", "08", "1" * 50)
ODD_NUMBERS = ("-1", "0", "-0", "1", "99999999999", "-99999999999", "0.5", "1e300", "1e-300", "+3")
TEXTS = (
    *("", " ", ",", "a,,b", "a,a", "a\nb", "a" * 5000, "💥", "\udce9", "../..", "-x", "[red]x"),
    *("\x1b]0;x\x07", "{}", "%s", "*"),
)
PLACES = (
    *("", ".", "/", "none", "none/none", "a" * 300, "/dev/null", "/dev/zero", "pipe", "folder"),
    *("file", "loop", "~nobody/x", "\udce9"),
)
ADDRESSES = (
    *("s3://", "s3://user:pw@bucket/x", "http://127.0.0.1:1/x", "127.0.0.1:99999", "file:///etc/passwd"),
    "s3://b/x?sig=1",
)
SET_VALUES = (
    *("", "true", "null", "-1", "0", "1e400", "nan", "[", "[1]", "{a: 1}", "x", "99999999999", "1" * 50),
    *("!!python/none", "'", "1:30", "0.5"),
)


@dataclass(frozen=True)
class Option:
    """An option, as its command declares it.

    Attributes:
        kind: the type of its values; None of a flag.
    """

    names: tuple[str, ...]
    kind: type | None
    repeatable: bool


@dataclass
class Line:
    """A mutated command line.

    Attributes:
        bad: why the command must refuse it; empty if that is not certain.
    """

    command: str
    words: list[str]
    bad: list[str] = field(default_factory=list)


def commands() -> dict[str, list[Option]]:
    """Read the options of every command from the commands themselves."""
    found = {}
    for name, (module, *_) in SUB_COMMANDS.items():
        command: Any = typer.main.get_command(import_module(module).app)
        for label, each in getattr(command, "commands", {"": command}).items():
            found[f"{name} {label}".strip()] = list(_options(each))
    return found


def _options(command: Any) -> Iterator[Option]:
    for parameter in command.params:
        if parameter.param_type_name == "option":
            annotated = command.callback.__annotations__.get(parameter.name, str)
            kinds = {str, int, float, Path} & set(_types(annotated))
            flag = parameter.is_flag
            names = (*parameter.opts, *parameter.secondary_opts)
            yield Option(names, None if flag else next(iter(kinds), str), bool(parameter.multiple))


def _types(annotated: Any) -> Iterator[Any]:
    """Yield the types in an annotation such as ``Annotated[int | None, …]``."""
    parts = get_args(annotated)[:1] if hasattr(annotated, "__metadata__") else get_args(annotated)
    if not parts or get_origin(annotated) is None:
        yield annotated
    for part in parts:
        yield from _types(part)


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the names of a recipe's fields, as ``--set`` takes them."""
    for name, each in model.model_fields.items():
        yield f"{prefix}{name}"
        for kind in _types(each.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from fields_of(kind, f"{prefix}{name}.")
    if not prefix:
        yield from ("model.width", "model.none", "", "none", "optimizer", "optimizer.none")


def mutated(options_of: dict[str, list[Option]], draw: Random) -> Line:
    """Draw a command, and one to three mutations of its line."""
    command = draw.choice([*sorted(options_of), *[PLAN] * len(options_of)])
    line = Line(command, shlex.split(BASE[command]))
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        _mutate(line, options_of[command], draw)
    return line


def _mutate(line: Line, options: Sequence[Option], draw: Random) -> None:
    option = draw.choice(options)
    name = draw.choice(option.names)
    act = draw.choice(["value"] * 7 + ["twice", "unknown", "no value", "one word more", "drop a word"])
    if act == "value" and option.kind is None:
        line.words += [draw.choice([f"{name}=true", f"{name}=", name])]
    elif act == "value":
        value, bad = _value(name, option.kind, draw)
        line.words += draw.choice([[name, value], [f"{name}={value}"]])
        line.bad += [f"{name} {value[:40]!r}"] * bad
    elif act == "twice" and option.kind is not None:
        first, second = _value(name, option.kind, draw)[0], _value(name, option.kind, draw)[0]
        line.words += [f"{name}={first}", f"{name}={second}"]
        line.bad += [f"{name} twice"] * (not option.repeatable)
    elif act == "unknown":
        line.words.append(draw.choice([f"{name}x", "--none", "-z", f"{name[:-1]}", "--no-plan"]))
    elif act == "no value":
        line.words.append(name)
    elif act == "one word more":
        line.words.append(draw.choice([*TEXTS, *PLACES, *ADDRESSES]))
    elif line.command != PLAN:  # a sweep without --plan or with another backend would begin
        del line.words[draw.randrange(len(line.words))]


def _value(name: str, kind: type | None, draw: Random) -> tuple[str, bool]:
    """Draw a value for an option of a type, and whether every command must refuse it."""
    if name in ("--plan", "--dry-run", "--address", "--backend"):
        return draw.choice([*TEXTS, *ADDRESSES]), name == "--address"
    if kind in (int, float):
        bad = draw.random() < 0.5
        worst = NO_WHOLE_NUMBERS if kind is int else NO_NUMBERS
        return draw.choice(worst if bad else ODD_NUMBERS), bad
    if name == "--set":
        return f"{draw.choice(list(fields_of(Recipe)))}={draw.choice(SET_VALUES)}", False
    if kind is Path:
        value = draw.choice(PLACES)
        return value, value == ""
    return draw.choice([*TEXTS, *ADDRESSES, *PLACES]), False


def run_line(line: Line, folder: Path) -> tuple[Done, list[str]]:
    """Run a command line in an empty folder with a file, a folder, a pipe and a loop; return what is wrong."""
    folder.mkdir()
    for name in ("home", "tmp", "folder"):
        (folder / name).mkdir()
    (folder / "file").write_text("a: 1\n")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    before = sorted(map(str, folder.rglob("*")))
    words = [word.replace("\0", "") for word in line.words]
    done = run(line.command, [*line.command.split(), *words], folder)
    problems = list(problems_of(done))
    helped = bool({"-h", "--help", "--version"} & set(words))
    if done.code == 0 and not helped and (line.bad or line.command != PLAN):
        problems.append(f"accepted: {'; '.join(line.bad) or 'a line without sense'}")
    if done.code not in (0, 2):
        problems.append(f"exit code {done.code} for a bad line")
    if done.code == 2 and len(re.findall(r"^(?:Error|winning-sign-\w+): ", done.text, re.MULTILINE)) != 1:
        problems.append(f"not one sentence: {done.text[-300:]!r}")
    if after := sorted({*map(str, folder.rglob("*"))} - {*before}):
        problems.append(f"written: {', '.join(after[:3])}")
    return done, problems


def run_lines(seeds: Sequence[int], folder: Path) -> int:
    """Run a mutated line for each seed, print those that failed and a table, and return the number of failures."""
    options_of = commands()
    counts, failures = Counter[tuple[str, int | None]](), Counter[str]()
    try:
        for seed in seeds:
            line = mutated(options_of, Random(seed))
            done, problems = run_line(line, folder / f"line-{seed}")
            counts[line.command, done.code] += 1
            if problems:
                failures[line.command] += 1
                text = shlex.join([line.command, *(word[:80] for word in line.words)])
                lines = [f"trial {seed} FAILED: {text}", *problems, f"it said: {done.text.strip()[-400:]}"]
                print("\n    ".join(lines).encode(errors="backslashreplace").decode(), flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: {len(seeds) - counts.total()} trials did not run")
    rows = []
    for name in options_of:
        refused, fine = counts[name, 2], counts[name, 0]
        rows.append([name, str(refused + fine), str(refused), str(fine), str(failures[name])])
    print()
    print_table(["command", "lines", "refused", "planned or helped", "failed"], rows)
    print(f"{counts.total()} command lines, seeds from {seeds[0]}: {failures.total()} failed")
    return failures.total() + len(seeds) - counts.total()
