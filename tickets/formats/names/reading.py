"""Read maps of names: the built-in ones beside this file, by name, and a user's own.

A map is YAML. ``names`` has their names and ours, of layers or tensors; a layer stands for all tensors below it, and
the longest name counts. ``{0..3}`` stands for 0, 1, 2 and 3, and ``{0..6..2}`` for 0, 2, 4 and 6; both sides have
equally many. ``within`` has their and our names of what follows such a layer. ``columns`` has, by our names, the order
of a linear layer's columns. ``unused`` has the shapes of their tensors that no forward pass uses, and that we lack.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from tickets.errors import TicketError
from tickets.formats.names.name_map import Columns, NameMap
from tickets.registry import unknown

BUILT_IN = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))
"""Networks of the released code whose names differ from ours, by our name of the architecture."""
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})(?:\.\.([1-9]\d{0,8}))?\}")
_MOST_NAMES = 100_000


class _Axes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sizes: dict[str, PositiveInt]
    theirs: list[str]
    ours: list[str]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    names: dict[str, str]
    within: dict[str, str] = {}
    columns: dict[str, _Axes] = {}
    unused: dict[str, list[PositiveInt]] = {}


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.MarkedYAMLError(problem=f"{twice} stands twice; remove one", problem_mark=node.start_mark)
        return mapping


def read_map(name: str) -> NameMap:
    """The map of their names to ours, built in or in a file; TicketError if there is none, or it is no map."""
    return built_in(name) if name in BUILT_IN else _read(Path(name), name)


@cache
def built_in(name: str) -> NameMap:
    """A built-in map."""
    return _read(Path(__file__).with_name(f"{name}.yaml"), name)


def _read(path: Path, title: str) -> NameMap:
    try:
        file = _File.model_validate(yaml.load(path.read_text(encoding="utf-8"), _Loader), strict=True)
    except FileNotFoundError:
        raise TicketError(f"{title} does not exist, and {unknown('map of names', title, BUILT_IN)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        fault = getattr(error, "problem", None) or "it is no YAML in UTF-8"
        raise TicketError(f"{title} is no map of names: {fault}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise TicketError(
            f"{title} is no map of names: {place}: {first['msg'][0].lower()}{first['msg'][1:]}; docs/exchange.md shows "
            f"a map"
        ) from error
    columns = {name: _columns(name, axes, title) for name, axes in file.columns.items()}
    return NameMap(title, _rules(file.names, title), _rules(file.within, title), columns, file.unused, {})


def _rules(rules: dict[str, str], title: str) -> dict[str, str]:
    expanded: dict[str, str] = {}
    for theirs, ours in rules.items():
        old, new = (_expanded(side, title) for side in (theirs, ours))
        if len(old) != len(new):
            raise TicketError(
                f"{title}: {theirs} stands for {len(old)} names and {ours} for {len(new)}; make them equal"
            )
        for one, other in zip(old, new, strict=True):
            if one in expanded or other in expanded.values():
                twice = one if one in expanded else other
                raise TicketError(f"{title}: two rules name {twice}; remove one")
            expanded[one] = other
    return expanded


def _expanded(name: str, title: str) -> list[str]:
    """The names that one with ranges stands for; the last range counts fastest."""
    pieces: list[list[str] | range] = []
    end = 0
    for match in _RANGE.finditer(name):
        first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
        pieces += [[name[end : match.start()]], range(first, last + 1, step)]
        end = match.end()
    pieces.append([name[end:]])
    if not 0 < prod(map(len, pieces)) <= _MOST_NAMES:
        raise TicketError(f"{title}: {name} stands for no name, or for more than {_MOST_NAMES:,}; correct its range")
    return ["".join(map(str, combination)) for combination in product(*pieces)]


def _columns(name: str, axes: _Axes, title: str) -> Columns:
    if not sorted(axes.sizes) == sorted(axes.theirs) == sorted(axes.ours):
        raise TicketError(f"{title}: {name}: sizes, theirs and ours name different axes; let each name all axes once")
    return Columns(axes.sizes, axes.theirs, axes.ours)
