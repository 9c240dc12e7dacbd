"""Read YAML in which every value has one meaning, whichever version of YAML a reader has in mind."""

from __future__ import annotations

import re
from typing import Any

import yaml

from workers.terminal.numbers import is_real, is_whole, real, whole

YAML_TAG = "tag:yaml.org,2002:"
MOST_DEPTH = 20
MOST_VALUES = 10_000
"""Of a text, with aliases written out: aliases of aliases multiply without end."""


class UnclearYamlError(ValueError):
    """A text that is no YAML, or that readers may take differently.

    Attributes:
        line: where, counted from 1; None if unknown.
    """

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.line = line


def read_yaml(text: str) -> Any:
    """Read a value; UnclearYamlError if the text is no YAML, or means different things to different readers."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise UnclearYamlError(error.problem or "no valid YAML", line) from error
    except yaml.YAMLError as error:
        raise UnclearYamlError(str(error).splitlines()[0], None) from error


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, in which every plain scalar has one meaning.

    YAML 1.1, which PyYAML reads, takes 1:30 for 90, 012 for 10, and yes for true; YAML 1.2 reads other values. What the
    two read differently is refused. So are tags such as !!int, repeated keys, and keys that are no text.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values: dict[int, int] = {}  # values in each node that is complete, aliases written out

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event: Any = self.peek_event()
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _marked("lists or mappings are nested too deeply", event)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._values:
                raise _marked(f"*{event.anchor} contains itself", event)
            return node
        if event.tag is not None:
            raise _marked(f"{event.tag.replace(YAML_TAG, '!!')} is a tag; write the value alone", event)
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            _read_plain(node)
        inner = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        self._values[id(node)] = 1 + sum(self._values[id(part)] for part in parts)
        if self._values[id(node)] > MOST_VALUES:
            raise _marked(f"more than {MOST_VALUES:,} values, aliases written out", event)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{YAML_TAG}str", f"{YAML_TAG}merge"):
                name = key.value if isinstance(key, yaml.ScalarNode) else "this key"
                raise _marked(f"{name} is no name of a field", key)
            if key.value in keys:
                raise _marked(f"{key.value} stands twice; remove one", key)
            keys.add(key.value)
        return node


def _marked(sentence: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=sentence, problem_mark=place.start_mark)


def _read_plain(node: yaml.ScalarNode) -> None:
    """Give a plain scalar the tag that YAML 1.1 and 1.2 agree on, or a number's for 1e3.

    Raises MarkedYAMLError if the two disagree, or a number is out of range.
    """
    text, kind = node.value, node.tag.removeprefix(YAML_TAG)
    if kind == "str" and is_real(text):
        kind, node.tag = "float", f"{YAML_TAG}float"
    named = text.lower().lstrip("+-") in (".inf", ".nan")  # a recipe's fields refuse them by name
    agreed = {
        "str": re.fullmatch("0o[0-7]+", text) is None,
        "merge": True,
        "null": True,
        "bool": text.lower() in ("true", "false"),
        "int": is_whole(text),
        "float": is_real(text) or named,
    }
    if not agreed.get(kind):
        yes_or_no = {**dict.fromkeys(("yes", "on"), "true"), **dict.fromkeys(("no", "off"), "false")}
        clearer = yes_or_no.get(text.lower(), "a plain decimal number" if text[0] in "+-.0123456789" else "a name")
        raise _marked(f"readers of YAML differ about {text}; write {clearer}, or quote it for a text", node)
    try:
        if kind in ("int", "float") and not named:
            (whole if kind == "int" else real)(text)
    except ValueError as error:
        raise _marked(str(error), node) from error
