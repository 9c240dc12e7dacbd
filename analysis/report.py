"""``winning-sign report``: writes the report of a store as one offline HTML file, or its numbers as tables.

>>> analysis.report.write_report(Path("runs/mnist1d"))    # or: winning-sign report runs/mnist1d
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Hashable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.frames.load import Frames
from analysis.frames.published.reading import PublishedError
from analysis.frames.recipes import last_recipes
from analysis.frames.several import SeveralStores, disagreements, open_reader, stores_of
from analysis.page.compared import render_compared
from analysis.page.compared_data import export_compared
from analysis.page.export import export
from analysis.page.publishing.crate.contents import write_contents
from analysis.page.publishing.crate.people import Author, CrateError, licence_url
from analysis.page.publishing.crate.public import public
from analysis.page.rendering import render
from analysis.reading import Stores, read
from analysis.rules.checklist import REPORT_DEADLINE_S, checks
from orchestrator.store import Storage, Store, StoreError
from orchestrator.store.layout import BADGE, RERUN
from tickets.files.writing import replacing
from workers.terminal.command import add_command, new_app, one_sentence
from workers.terminal.options import Published, StorePaths

REPORT = "report.html"
EXAMPLES = """
winning-sign report sweeps
winning-sign report s3://bucket/sweeps --out report.html
winning-sign report sweeps --export numbers
winning-sign report sweeps --crate sweeps-crate --author "Ada Lovelace" --license CC-BY-4.0
winning-sign report mine theirs s3://bucket/sweeps --out report.html
winning-sign report mine theirs --compare --out compared.html
"""
app = new_app()


def write_report(stores: Stores, out: Path | None = None, published: Path | None = None) -> str:
    """Write the report of one or several stores, in one step, so that a reader never sees half a page.

    Args:
        out: the file; by default ``report.html`` in the store. Several stores need one.
        published: a CSV file with published results to draw beside: see ``analysis.frames.published.reading``.

    Returns:
        Where the report is.

    Raises:
        StoreError: a store does not exist, they have no stages, or there are several and ``out`` is not given.
        PublishedError: the file with published results is none, or does not fit the stores.
        OSError: a file cannot be read or written.
    """
    _check_place(out)
    frames, rules, storage = _read(stores, out, published)
    if storage is not None and out is None and storage.folder is None:
        storage.write(REPORT, render(frames, storage.root, lambda path: path, checks=rules).encode())
        return f"{storage.root}/{REPORT}"
    root = "" if storage is None else storage.root
    out = (out or Path(root) / REPORT).absolute()
    _replace(out, render(frames, " and ".join(frames.stores), partial(_link, out.parent, root), checks=rules))
    return str(out)


def _read(
    stores: Stores, out: Path | None, published: Path | None
) -> tuple[Frames, list[dict[Hashable, Any]], Storage | None]:
    """Read the stores for a report. The records, half of a large store's memory, are freed before the page is drawn.

    Returns:
        The frames, the rules of the method as rows, and a single store's storage.
    """
    reader = open_reader(stores)
    if out is None and isinstance(reader, SeveralStores):
        raise StoreError("a report of several stores lies in none of them; give its file with --out")
    _, frames = read(reader, published=published, copy=out is None)  # a report in the store may write there
    rules = checks(reader, frames, deadline_s=REPORT_DEADLINE_S).to_dict("records")
    return frames, rules, reader.storage if isinstance(reader, Store) else None


def write_tables(stores: Stores, folder: Path) -> str:
    """Write all frames of the stores, their numbers and comparisons as tables: see ``analysis.page.export``.

    Returns:
        The folder.

    Raises:
        StoreError: a store does not exist, or they have no stages.
        OSError: the folder cannot be written; then nothing is.
    """
    _, frames = read(stores)
    export(frames, folder)
    return str(folder)


def write_compared(stores: Stores, out: Path | None, folder: Path | None) -> list[str]:
    """Compare two stores: write the page to ``out``, and the numbers to ``folder``.

    Returns:
        Where they are.

    Raises:
        StoreError: there are not two stores, one has no finished stage, or neither place is given.
        OSError: a file cannot be read or written.
    """
    _check_place(out)
    reader = open_reader(stores)
    readers = stores_of(reader)
    if len(readers) != 2:
        raise StoreError(f"--compare takes two stores, and here {'is' if len(readers) == 1 else 'are'} {len(readers)}")
    if out is None and folder is None:
        raise StoreError("a page of two stores lies in none of them; give its file with --out, or --export FOLDER")
    (_, a), (_, b) = (read(each, tickets=False, done=True) for each in readers)
    reader.records({})
    unequal = disagreements(reader)
    if folder is not None:
        export_compared(a, b, unequal, folder)
    if out is not None:
        out = out.absolute()
        _replace(out, render_compared(a, b, unequal, partial(_link, out.parent, "")))
    return [str(place) for place in (folder, out) if place is not None]


def write_crate(stores: Stores, folder: Path, authors: Sequence[str] = (), licence: str | None = None) -> str:
    """Write a store as a Workflow Run RO-Crate to a new folder, in one step: see ``analysis.page.publishing.crate``.

    Args:
        authors: who ran the sweeps: ``NAME``, or ``NAME, https://orcid.org/…``.
        licence: of the results: an identifier of SPDX, or a URL; None if none is stated.

    Returns:
        The folder.

    Raises:
        StoreError: there is not one store, or it has no finished stage.
        CrateError: an author or the licence is not as it must be, or rocrate is not installed.
        OSError: the folder exists, or cannot be written.
    """
    if find_spec("rocrate") is None:
        raise CrateError("--crate needs rocrate, which is not installed: pip install 'winning-sign[crate]'")
    from analysis.page.publishing.crate.metadata import write_metadata  # here: a report needs no rocrate

    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"--crate {folder} exists; give a new folder")
    _check_place(folder)
    people, url = [Author.parse(author) for author in authors], None if licence is None else licence_url(licence)
    reader = open_reader(stores)
    if not isinstance(reader, Store):
        raise StoreError("--crate takes one store; write a crate of each")
    _, frames = read(reader, done=True)
    rules = checks(reader, frames, deadline_s=REPORT_DEADLINE_S).to_dict("records")
    name = reader.root.rstrip("/").rpartition("/")[2]
    shown = public(frames, name)
    with tempfile.TemporaryDirectory(prefix=".crate.", dir=folder.absolute().parent) as beside:
        partial_folder = Path(beside) / "crate"
        partial_folder.mkdir()
        page = render(shown, name, lambda path: path, checks=rules)
        recipes = last_recipes(reader.plans({})).values()
        write_contents(shown, partial_folder, page, recipes, _rerun_of(reader.storage))
        write_metadata(shown, partial_folder, name, people, url)
        partial_folder.rename(folder)
    return str(folder)


def _rerun_of(storage: Storage) -> dict[str, bytes]:
    """Read what ``winning-sign verify --rerun`` left in a store, by file name."""
    found = {}
    for name in (RERUN, BADGE):
        with suppress(FileNotFoundError):
            found[name] = storage.read(name)
    return found


def _check_place(out: Path | None) -> None:
    if out is not None and not out.absolute().parent.is_dir():
        raise NotADirectoryError(f"there is no folder {out.parent} to write {out.name} in; create it first")


def _link(folder: Path, root: str, path: str) -> str:
    """Return the address of a path in ``root``, as a page in a folder links to it."""
    whole = f"{root}/{path}" if root else path
    return whole if "://" in whole else os.path.relpath(whole, folder)


def _replace(out: Path, page: str) -> None:
    with replacing(out) as partial_file:
        partial_file.write_text(page, encoding="utf-8")


@add_command(app, EXAMPLES)
def report(
    stores: StorePaths,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The HTML file. Default: report.html in the store.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare two stores; needs --out, --export or both.")
    ] = False,
    published: Published = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Write all results there as JSON, CSV, Parquet, LaTeX and BibTeX; the page only with --out.",
        ),
    ] = None,
    crate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a Workflow Run RO-Crate there, for archives and committees: report, tables, recipes, versions; "
            "the page in the store only with --out.",
        ),
    ] = None,
    author: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[, ORCID]", help="With --crate: who ran the sweeps; repeatable. Default: not said."),
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", metavar="SPDX|URL", help="With --crate: the licence of the results."),
    ] = None,
) -> None:
    """Write the report of one store or several, its tables, or a crate.

    The report is one HTML file that works offline. A stage that several stores hold is one result. With --compare the
    page says what differs between two stores: in their recipes, and in their results.
    """
    with one_sentence(StoreError, PublishedError, CrateError, OSError):
        if crate is None and (author or license_):
            raise CrateError(f"--{'author' if author else 'license'} is of a crate; give --crate FOLDER with it")
        if crate is not None:
            if compare or published is not None:
                raise CrateError("--crate is of one store alone; leave out --compare and --published")
            typer.echo(write_crate(stores, crate, author or (), license_))
            if tables is None and out is None:
                return
        if compare:
            if published is not None:
                raise StoreError("--compare draws no published results; leave out --published")
            for place in write_compared(stores, out, tables):
                typer.echo(place)
            return
        if tables is not None:
            typer.echo(write_tables(stores, tables))
        if tables is None or out is not None:
            typer.echo(write_report(stores, out, published))


if __name__ == "__main__":
    app()
