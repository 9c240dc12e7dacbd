"""Texts of a store as a page shows them: what would reorder or hide what stands beside it is spelled out."""

from __future__ import annotations

import json
import re
from typing import Any

from workers.terminal.console import visible

_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")


def shown(value: Any) -> Any:
    """A template's value: plain text is made visible, and markup stays what it is."""
    return visible(value) if type(value) is str else value


def shown_json(text: str) -> str:
    """JSON in ASCII with all of its strings made visible."""
    return _ESCAPE.sub(_shown_escape, text)


def _shown_escape(escape: re.Match[str]) -> str:
    sign = json.loads(f'"{escape[0]}"')
    return escape[0] if visible(sign) == sign else json.dumps(visible(sign))[1:-1]
