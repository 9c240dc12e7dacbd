"""Mutate command lines: bad values, repeated, unknown and incomplete options, as the commands themselves declare them.

Hypothesis draws the lines.

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
from itertools import count
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import (
    DrawFn,
    SearchStrategy,
    builds,
    characters,
    composite,
    floats,
    integers,
    sampled_from,
    text,
)
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
    "serve": "none --published=none.csv --port=none --every=none",  # refused with any two of its words dropped
    "judge": "none",
    "checks": "none",
    "tickets show": "none.parquet",
    "tickets diff": "none.parquet other.parquet",
    "tickets convert": "none.parquet converted.parquet",
    "tickets verify": "none.parquet",
    "tickets publish": "none zoo --licence=mit",
    "tickets push": "none OWNER/REPOSITORY --yes",
    "cancel": "none",
    "verify": "none",
    "gc": "none",
    "unlock": "none --stale",
    "spot-notice": "azure",
}
"""By command, words that it plans with or refuses."""
MORE = {"report": "none other --compare --out compared.html --export numbers"}
"""Further words, for commands that do two things."""
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


ACTS = (*["value"] * 7, "twice", "unknown", "no value", "one word more", "drop a word")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
TEXT = text(characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
ANY_TEXT = sampled_from([*TEXTS, *ADDRESSES]) | TEXT
ODD_NUMBER = sampled_from(ODD_NUMBERS) | integers().map(str) | floats(allow_nan=False, allow_infinity=False).map(repr)


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


@composite
def mutated_lines(draw: DrawFn, command: str, options: Sequence[Option]) -> Line:
    """Draw one to three mutations of a command's line."""
    line = Line(command, shlex.split(draw(sampled_from([BASE[command], MORE.get(command, BASE[command])]))))
    for _ in range(draw(sampled_from([1, 1, 1, 2, 3]))):
        _mutate(draw, line, options)
    return line


def _mutate(draw: DrawFn, line: Line, options: Sequence[Option]) -> None:
    option = draw(sampled_from(options))
    name = draw(sampled_from(option.names))
    act = draw(sampled_from(ACTS))
    if act == "value" and option.kind is None:
        line.words += [draw(sampled_from([f"{name}=true", f"{name}=", name]))]
    elif act == "value":
        value, bad = draw(_values(name, option.kind))
        line.words += draw(sampled_from([[name, value], [f"{name}={value}"]]))
        line.bad += [f"{name} {value[:40]!r}"] * bad
    elif act == "twice" and option.kind is not None:
        line.words += [f"{name}={draw(_values(name, option.kind))[0]}" for _ in range(2)]
        line.bad += [f"{name} twice"] * (not option.repeatable)
    elif act == "unknown":
        line.words.append(draw(sampled_from([f"{name}x", "--none", "-z", f"{name[:-1]}", "--no-plan"])))
    elif act == "no value":
        line.words.append(name)
    elif act == "one word more":
        line.words.append(draw(ANY_TEXT | sampled_from(PLACES)))
    elif line.words and line.command != PLAN:  # a sweep without --plan or with another backend would begin
        del line.words[draw(integers(0, len(line.words) - 1))]


def _values(name: str, kind: type | None) -> SearchStrategy[tuple[str, bool]]:
    """Draw values for an option of a type, and whether every command must refuse them."""
    if name == "--address":
        return sampled_from([*TEXTS, *ADDRESSES]).map(_refused)
    if kind is int:
        return (sampled_from(NO_WHOLE_NUMBERS) | _texts_unlike(WHOLE_NUMBER)).map(_refused) | ODD_NUMBER.map(_open)
    if kind is float:
        return (sampled_from(NO_NUMBERS) | _texts_unlike(NUMBER)).map(_refused) | ODD_NUMBER.map(_open)
    if name == "--set":
        pairs = sampled_from(list(fields_of(Recipe))), sampled_from(SET_VALUES) | TEXT | ODD_NUMBER
        return builds(lambda field, value: (f"{field}={value}", False), *pairs)
    if kind is Path:
        return (sampled_from(PLACES) | TEXT).map(lambda value: (value, value == ""))
    return (ANY_TEXT | sampled_from(PLACES)).map(_open)


def _texts_unlike(pattern: re.Pattern[str]) -> SearchStrategy[str]:
    return TEXT.filter(lambda value: pattern.fullmatch(value.strip()) is None)


def _refused(value: str) -> tuple[str, bool]:
    return value, True


def _open(value: str) -> tuple[str, bool]:
    return value, False


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


def run_lines(trials: int, seed: int, folder: Path) -> int:
    """Run mutated lines of every command, half of them sweep's; print those that failed and a table; count those."""
    options_of = commands()
    codes, failures, numbers = Counter[tuple[str, int | None]](), Counter[str](), count()
    share = max(1, trials // (2 * len(options_of) - 2))

    def check(line: Line) -> None:
        done, problems = run_line(line, folder / f"line-{next(numbers)}")
        codes[line.command, done.code] += 1
        if problems:
            failures[line.command] += 1
            words = shlex.join([line.command, *(word[:80] for word in line.words)])
            lines = [f"FAILED: {words}", *problems, f"it said: {done.text.strip()[-400:]}"]
            print("\n    ".join(lines).encode(errors="backslashreplace").decode(), flush=True)

    try:
        for command, options in options_of.items():
            limits = settings(
                max_examples=trials - share * (len(options_of) - 1) if command == PLAN else share,
                phases=[Phase.generate],  # nothing to shorten: a line has at most three mutations
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            seeded(seed)(limits(given(mutated_lines(command, options))(check)))()
    except KeyboardInterrupt:
        print(f"interrupted after {codes.total()} of {trials} lines")
        failures["interrupted"] += 1
    rows = []
    for name in options_of:
        refused, fine = codes[name, 2], codes[name, 0]
        rows.append([name, str(refused + fine), str(refused), str(fine), str(failures[name])])
    print()
    print_table(["command", "lines", "refused", "planned or helped", "failed"], rows)
    print(f"{codes.total()} command lines of {len(options_of)} commands, seed {seed}: {failures.total()} failed")
    return failures.total()
