"""Docstrings here are plain words with ``literals``, Google's sections and indented blocks: no reStructuredText.

So ``|init| * sign``, ``**options`` and ``transfer_`` stay what they say, and what is indented below a blank line is
shown as it stands.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.+?``)")
MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")
INDENT = "    "


def as_markup(lines: list[str]) -> list[str]:
    """The reStructuredText that shows these lines."""
    made: list[str] = []
    verbatim = False
    for before, line in pairwise(["", *lines]):
        begins = not before.strip() and line.startswith(INDENT)
        if begins and not verbatim and made and not _in_section(made):
            verbatim = True
            made.extend(["::", ""])
        if line.strip() and not line.startswith(INDENT):
            verbatim = line.startswith(">>>") or (verbatim and before.startswith(">>>"))
        made.append(line if verbatim else _words(line))
    return made


def _in_section(made: list[str]) -> bool:
    """Whether the last line that is not indented is the header of a section."""
    outer = [line for line in made if line.strip() and not line.startswith(" ")]
    return bool(outer) and outer[-1].endswith(":") and " " not in outer[-1]


def _words(line: str) -> str:
    parts = LITERAL.split(line)
    return "".join(part if LITERAL.fullmatch(part) else MARKUP.sub(r"\\\g<0>", part) for part in parts)


def _process(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    lines[:] = as_markup(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", _process, priority=400)  # before napoleon reads the sections
    return {"parallel_read_safe": True, "parallel_write_safe": True}
