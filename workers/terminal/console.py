"""The console of every command: rich's, except that no text can send it control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole  # noqa: TID251  (the one place)
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of characters that a terminal or a browser acts on: control characters, format characters that
reorder or hide their neighbours, unpaired surrogates, and line separators."""


class Console(RichConsole):
    """Print text as it is: control characters as ``\\x1b`` and the like, no markup, no highlighting.

    Names, messages and logs come from stores that other people may have written; rich alone would pass their escape
    sequences on to the terminal.
    """

    def __init__(self, *, markup: bool = False, highlight: bool = False, emoji: bool = False, **options: Any) -> None:
        super().__init__(markup=markup, highlight=highlight, emoji=emoji, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)  # before measuring, so that columns stay aligned

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def visible(text: str) -> str:
    """Spell out the control and format characters of a text, except newlines and tabs."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def _spelled(sign: str) -> str:
    if sign in "\n\t" or unicodedata.category(sign) not in HIDDEN:
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
