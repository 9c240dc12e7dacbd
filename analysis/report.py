"""The report: one HTML file that works offline, written anew while a sweep runs, and its numbers as tables.

>>> analysis.report.write_report(Path("runs/mnist1d"))    # or: python -m analysis.report runs/mnist1d
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
from workers.terminal.console import visible

REPORT = "report.html"
app = typer.Typer(add_completion=False)


def write_report(store: Path | str, out: Path | None = None, published: Path | None = None) -> str:
    """Write the report of a store, in one step, so that a reader never sees half a page.

    Args:
        out: the file; by default ``report.html`` in the store.
        published: a CSV file with published results to draw beside: see ``analysis.frames.published``.

    Returns:
        Where the report is.

    Raises:
        StoreError: the store does not exist, has no stages, or is damaged.
        PublishedError: the file with published results is none, or does not fit the store.
        OSError: a file cannot be read or written.
    """
    frames = _loaded(store, published)
    reader = Store(store)
    found = checks(reader, frames, deadline_s=REPORT_DEADLINE_S).to_dict("records")
    folder = reader.storage.folder
    if out is None and folder is None:
        page = render(frames, reader.root, lambda path: path, checks=found)
        reader.storage.write(REPORT, page.encode())
        return f"{reader.root}/{REPORT}"
    out = (out or Path(reader.root) / REPORT).absolute()
    place = out.parent
    if folder is None:
        page = render(frames, reader.root, lambda path: f"{reader.root}/{path}", checks=found)
    else:
        root = folder
        page = render(frames, reader.root, lambda path: os.path.relpath(root / path, place), checks=found)
    with replacing(out) as partial:
        partial.write_text(page, encoding="utf-8")
    return str(out)


def write_tables(store: Path | str, folder: Path) -> str:
    """Write all frames of a store, its numbers and its comparisons as tables: see ``analysis.page.export``.

    Returns:
        The folder.

    Raises:
        StoreError: the store does not exist, has no stages, or is damaged.
        OSError: the folder cannot be written; then nothing is.
    """
    export(_loaded(store), folder)
    return str(folder)


def _loaded(store: Path | str, published: Path | None = None) -> Frames:
    frames = load(store, published=published)
    if frames.stages.empty and frames.planned == 0:
        raise StoreError(f"{store}: this folder has no stages; give the folder of a sweep's store")
    return frames


@app.command()
def report(
    store: Annotated[str, typer.Argument(help="The folder or URL of a sweep's store.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file; by default report.html in the store.")] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            help="Published results to draw beside: a CSV file with the columns dataset, architecture, series, "
            "density, accuracy_percent and, if wanted, source."
        ),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option("--export", help="A folder for all numbers as CSV, Parquet and LaTeX; without --out, no page."),
    ] = None,
) -> None:
    """Write the report of a store as one HTML file that works offline, or its numbers as tables."""
    try:
        if tables is not None:
            typer.echo(write_tables(store, tables))
        if tables is None or out is not None:
            typer.echo(write_report(store, out, published))
    except (StoreError, PublishedError, OSError) as error:
        typer.echo(visible(f"winning-sign-report: {error}"), err=True)
        raise typer.Exit(2) from error


def main() -> None:
    """The command line's entry point."""
    app()


if __name__ == "__main__":
    main()
