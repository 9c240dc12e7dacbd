"""Where every command prints: a rich console that no text can steer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole  # noqa: TID251  (the one place)
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# C0, DEL and C1, which a terminal may act on; lines and columns are a text's own
VISIBLE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


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
    """The text with its control characters spelled out, but for newlines and tabs."""
    return text.translate(VISIBLE)
