"""YAML of recipes: one meaning for every reader. tests/commands/refusals has what is refused, and how."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.recipes.plain_yaml import MOST_VALUES, UnclearYamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3", -3),
        ("1e3", 1000.0),
        ("5.0e-4", 5e-4),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("'012'", "012"),
        ("'yes'", "yes"),
        ("true", True),
        ("~", None),
        ("none", "none"),
        ("٣", "٣"),
    ],
)
def test_a_plain_value_has_its_plain_meaning(text: str, value: Any) -> None:
    read = read_yaml(text)
    assert (read, type(read)) == (value, type(value))


def test_aliases_of_aliases_are_refused_before_they_are_written_out() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 15)]
    with pytest.raises(UnclearYamlError, match=f"more than {MOST_VALUES:,} values"):
        read_yaml("\n".join(lines))
    assert read_yaml("a: &one [1]\nb: [*one, *one]") == {"a": [1], "b": [[1], [1]]}
