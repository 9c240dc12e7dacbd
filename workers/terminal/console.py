"""Where every command prints: a rich console that no text can steer."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole  # noqa: TID251  (the one place)
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what a terminal or a browser may act on: controls, formats that reorder or hide what stands
beside them, halves of pairs that cannot be printed, and separators of lines."""


class Console(RichConsole):
    """Rich's console, which shows control characters as ``\\x1b`` and sends none but its own.

    Names, messages and logs come from stores that others may have written, and rich would hand their escapes on.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)  # before it is measured, so that tables stay straight

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def visible(text: str) -> str:
    """The text with its control and format characters spelled out, but for newlines and tabs."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def _spelled(sign: str) -> str:
    if sign in "\n\t" or unicodedata.category(sign) not in HIDDEN:
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
