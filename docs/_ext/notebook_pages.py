"""Show a notebook as a page: its Markdown, code and stored outputs. Nothing is executed.

An output appears in the richest form that a static page can show: a picture, a table, else text.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FENCE = "``````"  # longer than any fence inside a cell


def as_markdown(notebook: Mapping[str, Any]) -> str:
    """Return a notebook as one MyST document."""
    return "\n\n".join(block for cell in notebook["cells"] for block in _blocks(cell)) + "\n"


def _blocks(cell: Mapping[str, Any]) -> Iterator[str]:
    source = _text(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
    elif cell["cell_type"] == "code":
        yield _fenced("python", source)
        yield from (_shown(output) for output in cell["outputs"])


def _shown(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _fenced("text", _text(output["text"]))
    if output["output_type"] == "error":
        raise ValueError(f"a cell of the notebook ended in {output['ename']}; execute the notebook again")
    data = output["data"]
    if "image/svg+xml" in data:
        return _fenced("{raw} html", f'<figure class="output">{_text(data["image/svg+xml"])}</figure>')
    if "image/png" in data:
        alternative = html.escape(_text(data.get("text/plain", "figure")), quote=True)
        picture = f'<img alt="{alternative}" src="data:image/png;base64,{_text(data["image/png"]).strip()}">'
        return _fenced("{raw} html", f'<figure class="output">{picture}</figure>')
    if "text/html" in data:
        return _fenced("{raw} html", f'<div class="output">{_text(data["text/html"])}</div>')
    return _fenced("text", _text(data["text/plain"]))


def _text(lines: str | list[str]) -> str:
    return "".join(lines)


def _fenced(language: str, text: str) -> str:
    return f"{FENCE}{language}\n{text.rstrip()}\n{FENCE}"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    if Path(app.env.doc2path(docname)).suffix == ".ipynb":
        source[0] = as_markdown(json.loads(source[0]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_source_suffix(".ipynb", "markdown")
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
