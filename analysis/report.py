"""``winning-sign report``: writes the report of a store as one offline HTML file, or its numbers as tables.

>>> analysis.report.write_report(Path("runs/mnist1d"))    # or: winning-sign report runs/mnist1d
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from analysis.frames.load import Frames, load
from analysis.frames.published import PublishedError
from analysis.page.export import export
from analysis.page.rendering import render
from analysis.rules.checklist import REPORT_DEADLINE_S, checks
from orchestrator.store import Store, StoreError
from tickets.files.writing import replacing
from workers.terminal.command import add_command, new_app, one_sentence, tell_left_out
from workers.terminal.options import Published, StorePath

REPORT = "report.html"
EXAMPLES = """
winning-sign report sweeps
winning-sign report s3://bucket/sweeps --out report.html
winning-sign report sweeps --export numbers
"""
app = new_app()


def write_report(store: Path | str, out: Path | None = None, published: Path | None = None) -> str:
    """Write the report of a store, in one step, so that a reader never sees half a page.

    Args:
        out: the file; by default ``report.html`` in the store.
        published: a CSV file with published results to draw beside: see ``analysis.frames.published``.

    Returns:
        Where the report is.

    Raises:
        StoreError: the store does not exist, or has no stages.
        PublishedError: the file with published results is none, or does not fit the store.
        OSError: a file cannot be read or written.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise NotADirectoryError(f"there is no folder {out.parent} to write {out.name} in; create it first")
    frames = _loaded(store, published)
    reader = Store(store)
    rules = checks(reader, frames, deadline_s=REPORT_DEADLINE_S).to_dict("records")
    folder = reader.storage.folder
    if out is None and folder is None:
        page = render(frames, reader.root, lambda path: path, checks=rules)
        reader.storage.write(REPORT, page.encode())
        return f"{reader.root}/{REPORT}"
    out = (out or Path(reader.root) / REPORT).absolute()
    place = out.parent
    if folder is None:
        page = render(frames, reader.root, lambda path: f"{reader.root}/{path}", checks=rules)
    else:
        root = folder
        page = render(frames, reader.root, lambda path: os.path.relpath(root / path, place), checks=rules)
    with replacing(out) as partial:
        partial.write_text(page, encoding="utf-8")
    return str(out)


def write_tables(store: Path | str, folder: Path) -> str:
    """Write all frames of a store, its numbers and its comparisons as tables: see ``analysis.page.export``.

    Returns:
        The folder.

    Raises:
        StoreError: the store does not exist, or has no stages.
        OSError: the folder cannot be written; then nothing is.
    """
    export(_loaded(store), folder)
    return str(folder)


def _loaded(store: Path | str, published: Path | None = None) -> Frames:
    frames = load(store, published=published, leave_out=True)
    if frames.stages.empty and frames.planned == 0:
        raise StoreError(f"{store}: this folder has no stages; give the folder of a sweep's store")
    tell_left_out(frames.left_out, store)
    return frames


@add_command(app, EXAMPLES)
def report(
    store: StorePath,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The HTML file. Default: report.html in the store.")
    ] = None,
    published: Published = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Write all results there as JSON, CSV, Parquet, LaTeX and BibTeX; the page only with --out.",
        ),
    ] = None,
) -> None:
    """Write the report of a store, or its numbers as tables.

    The report is one HTML file that works offline.
    """
    with one_sentence(StoreError, PublishedError, OSError):
        if tables is not None:
            typer.echo(write_tables(store, tables))
        if tables is None or out is not None:
            typer.echo(write_report(store, out, published))


if __name__ == "__main__":
    app()
