"""Make a store's texts safe to show: control characters that would reorder or hide their neighbours are spelled out."""

from __future__ import annotations

import json
import re
from typing import Any

from workers.terminal.console import visible

_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")


def visible_text(value: Any) -> Any:
    """Make a template's plain text visible; leave markup and other values as they are."""
    return visible(value) if type(value) is str else value


def visible_json(text: str) -> str:
    """Make all strings of a JSON text in ASCII visible."""
    return _ESCAPE.sub(_visible_escape, text)


def _visible_escape(escape: re.Match[str]) -> str:
    character = json.loads(f'"{escape[0]}"')
    return escape[0] if visible(character) == character else json.dumps(visible(character))[1:-1]
