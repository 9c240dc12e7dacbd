"""Mutations of fields, in JSON, lines of JSON, YAML and the metadata of Parquet and safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

MARKUP = "<img src=x onerror=alert(1)>"
ESCAPE = "\x1b]0;fuzz\x07\x1b[2J"
NESTED = "nested-by-the-fuzzer"
"""Stands for a value that is too deep to be written by json."""
Place = tuple[Any, Any]
"""A container, and the key or position in it."""


def any_value(draw: Random, old: object) -> Any:
    """Draw a value that may be in no good file."""
    values: list[Any] = [
        *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e300, -1e300, 1e-320, math.nan, math.inf, -math.inf),
        *(2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, draw.randint(-100, 10**6)),
        *(
            "",
            " ",
            "0",
            "-1",
            "1e999",
            "nan",
            "²",
            "٣",
            "\0",
            "\ud800",
            "\u202egnp.exe",
            "💥" * 50,
            "a" * 300,
            "a" * 20_000,
        ),
        *(
            "../../../outside/secret.txt",
            "/etc/passwd",
            "outside/secret.txt",
            "..",
            "/",
            "-rf",
            "~",
            "file:///etc/passwd",
        ),
        *(
            "s3://bucket/x",
            "a\nb",
            "%s%n{0}$HOME`id`",
            "'; --",
            MARKUP,
            f"</script><script>{MARKUP}",
            ESCAPE,
            "[bold]x[/]",
        ),
        *([], {}, [None], {"": None}, {"a": {"b": [1]}}, [[]] * 100, list(range(30_000)), NESTED),
        *({f"k{number}": number for number in range(1000)}, "a" * 3_000_000),
    ]
    if isinstance(old, bool):
        values += [not old, int(old), str(old)] * 5
    elif isinstance(old, int | float):
        values += [-old, old + 1, old * 1000, old / 1000, str(old), [old], float(old), old * 10**9] * 4
    elif isinstance(old, str):
        values += [
            old[::-1],
            old.upper(),
            old + "x",
            [old],
            {"a": old},
            old[:-1],
            old * 3,
            f" {old}",
            "0" * len(old),
        ] * 4
    elif isinstance(old, list):
        values += [old * 2, old[::-1], old[:1], old[1:], dict.fromkeys(map(str, range(len(old)))), str(old)] * 4
    elif isinstance(old, dict):
        values += [list(old), {**old, "more": 1}, dict.fromkeys(old), [old], {**old, MARKUP: ESCAPE}] * 4
    return draw.choice(values)


def places_of(value: Any) -> Iterator[Place]:
    """Yield every place of a value, with its container."""
    pending = [value]
    while pending:
        container = pending.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], dict | list):
                pending.append(container[key])


def change_value(value: Any, draw: Random) -> tuple[Any, str]:
    """Change, remove, rename or add a field of a value; return the value, and what was done."""
    places = list(places_of(value)) if isinstance(value, dict | list) else []
    if not places or draw.random() < 0.03:
        return any_value(draw, value), "the whole value replaced"
    container, key = draw.choice(places)
    act, old = draw.choice(["set"] * 6 + ["remove", "rename", "add", "swap"]), container[key]
    if act == "remove":
        del container[key]
    elif act == "rename" and isinstance(container, dict):
        container[draw.choice([str(key).upper(), f"{key} ", "".join(map(_lookalike, str(key))), "", MARKUP])] = (
            container.pop(key)
        )
    elif act == "add" and isinstance(container, dict):
        container[draw.choice(["more", "__class__", "", "../x", "a" * 5000, ESCAPE])] = any_value(draw, old)
    elif act == "swap":
        other, place = draw.choice(places)
        container[key], other[place] = other[place], container[key]
        if _has_circle(value):
            other[place], container[key] = container[key], None
    else:
        act, container[key] = "set", any_value(draw, old)
    return value, f"{act} {str(key)[:60]!r} (was {str(old)[:40]!r})"


def _lookalike(letter: str) -> str:
    return {"a": "а", "e": "е", "o": "о"}.get(letter, letter)


def _has_circle(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return True
    return False


def to_text(value: Any, draw: Random) -> str:
    """Write JSON, as a program without scruples does: NaN, repeated fields, and deep nesting are possible."""
    text = json.dumps(value)
    depth = draw.choice([20, 500, 5000, 200_000])
    opened, closed = draw.choice([("[", "]"), ('{"a":', "}")])
    text = text.replace(f'"{NESTED}"', f"{opened * depth}1{closed * depth}")
    if isinstance(value, dict) and value and draw.random() < 0.05:
        text = f'{{"{draw.choice([str(key) for key in value])}": null, {text[1:]}'
    return text


def change_json(content: bytes, draw: Random) -> tuple[bytes, str]:
    """Change a JSON document, or one of several lines of JSON; ValueError for other content."""
    try:
        value, said = change_value(json.loads(content), draw)
    except ValueError:
        lines = content.splitlines()
        if len(lines) < 2:
            raise
        place = draw.randrange(len(lines))
        lines[place], said = change_json(lines[place], draw)
        return b"\n".join(lines) + b"\n", f"line {place + 1}: {said}"
    if draw.random() < 0.1:
        value, more = change_value(value, draw)
        said = f"{said}; {more}"
    return to_text(value, draw).encode(errors="surrogatepass"), said


def change_fields(path: Path, draw: Random) -> str:
    """Change fields of a JSON file."""
    content, said = change_json(path.read_bytes(), draw)
    path.write_bytes(content)
    return said


def change_yaml(path: Path, draw: Random) -> str:
    """Change fields of a YAML file, or add what YAML alone has."""
    text = path.read_text()
    bad = [
        *(
            "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
            "!!python/object/apply:os.system ['touch outside/executed']\n",
        ),
        *(
            "rounds: 1\nrounds: 2\n",
            "seeds: 0x10\n",
            "seeds: 1_0\n",
            "chains: .inf\n",
            "? [a]\n: 1\n",
            "\t- x\n",
            "--- \n---\n",
        ),
        *(
            "model: {width: true}\n",
            "batch_size: 100000000\n",
            "like: ../../outside/secret\n",
            "like: small\n",
            "rounds: 1:30\n",
        ),
        *("probe_points: " + "9" * 50 + "\n", "seeds: " + "[" * 5000 + "\n", "model: {width: " + "1" * 30 + "}\n"),
    ]
    import yaml

    if draw.random() < 0.4:
        path.write_text(text + draw.choice(bad))
        return "a line of YAML added"
    value, said = change_value(yaml.safe_load(text), draw)
    path.write_text(to_text(value, draw).encode(errors="replace").decode())
    return said


def change_csv(path: Path, draw: Random) -> str:
    """Change cells of a CSV file."""
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row = draw.choice(rows)
    value = any_value(draw, 0.5)
    row[draw.randrange(len(row))] = str(value)[:1_000_000]
    path.write_bytes("\n".join(",".join(row) for row in rows * draw.choice([1, 1, 50])).encode(errors="replace"))
    return f"a cell is {str(value)[:40]!r}"


Mutation = Callable[[Path, Random], str]
