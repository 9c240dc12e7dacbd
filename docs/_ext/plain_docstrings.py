"""Show docstrings as they read in the source: plain words, ``literals``, Google sections and indented blocks.

Docstrings of this project hold no reStructuredText. So ``|init| * sign``, ``**options`` and ``transfer_`` appear as
written, a block indented below a blank line appears verbatim, and a colon in a first line stays where it is.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.+?``)")
MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")
INDENT = "    "
COLON = "\ue000"  # of the Unicode private use area, so that no docstring has it
HAS_A_VALUE = ("attribute", "data", "property")
NAMES = re.compile(r"(?<=^:ivar )[^:]+(?=:)|(?<=^:param )[^:]+(?=:)")


def as_markup(lines: list[str]) -> list[str]:
    """Return the reStructuredText that shows these lines."""
    markup: list[str] = []
    verbatim = False
    for before, line in pairwise(["", *lines]):
        begins = not before.strip() and line.startswith(INDENT)
        if begins and not verbatim and markup and not _in_section(markup):
            verbatim = True
            markup.extend(["::", ""])
        if line.strip() and not line.startswith(INDENT):
            verbatim = line.startswith(">>>") or (verbatim and before.startswith(">>>"))
        markup.append(line if verbatim else _escape(line))
    return markup


def _in_section(markup: list[str]) -> bool:
    """Whether the last unindented line is the header of a section."""
    unindented = [line for line in markup if line.strip() and not line.startswith(" ")]
    return bool(unindented) and unindented[-1].endswith(":") and " " not in unindented[-1]


def _escape(line: str) -> str:
    parts = LITERAL.split(line)
    return "".join(part if LITERAL.fullmatch(part) else MARKUP.sub(r"\\\g<0>", part) for part in parts)


def _before_napoleon(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    lines[:] = as_markup(lines)
    if what in HAS_A_VALUE and lines:  # napoleon reads "Head: tail." as "type: description", and shows the tail first
        lines[0] = lines[0].replace(":", COLON)


def _after_napoleon(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    # Sphinx reads a blank within "train_images, test_images" as the end of a type
    lines[:] = [NAMES.sub(lambda names: names[0].replace(", ", ",\u200b"), line.replace(COLON, ":")) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)  # napoleon's is 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
