"""The report: one HTML file that works offline, written anew while a sweep runs.

>>> analysis.report.write_report(Path("runs/mnist1d"))    # or: python -m analysis.report runs/mnist1d
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

import jinja2
import pandas as pd
import typer
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis import questions, words
from analysis.figures import CATALOGUE
from analysis.load import Frames, load
from analysis.measures import MEASURES
from analysis.numbers import numbers
from analysis.provenance import provenance
from analysis.published import PublishedError
from analysis.sections import Section, sections
from orchestrator.store import Store, StoreError
from workers.console import visible

REPORT = "report.html"
app = typer.Typer(add_completion=False)
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes:
        json: the figure for plotly.js; plotly writes <, > and / as escapes, so that it cannot end its script element.
    """

    title: str
    caption: str
    json: Markup


def write_report(store: Path | str, out: Path | None = None, published: Path | None = None) -> str:
    """Write the report of a store, in one step, so that a reader never sees half a page.

    Args:
        out: the file; by default ``report.html`` in the store.
        published: a CSV file with published results, to be drawn beside the store's: see ``analysis.published``.

    Returns:
        Where the report is.

    Raises:
        StoreError: the store does not exist, has no stages, or is damaged.
        PublishedError: the file with published results is none, or does not fit the store.
        OSError: a file cannot be read or written.
    """
    frames = load(store, published=published)
    if frames.stages.empty and frames.planned == 0:
        raise StoreError(f"{store}: this folder has no stages; give the folder of a sweep's store")
    reader = Store(store)
    folder = reader.storage.folder
    if out is None and folder is None:
        page = render(frames, reader.root, lambda path: path)
        reader.storage.write(REPORT, page.encode())
        return f"{reader.root}/{REPORT}"
    out = (out or Path(reader.root) / REPORT).absolute()
    place = out.parent
    if folder is None:
        page = render(frames, reader.root, lambda path: f"{reader.root}/{path}")
    else:
        root = folder
        page = render(frames, reader.root, lambda path: os.path.relpath(root / path, place))
    _replace(out, page)
    return str(out)


def render(frames: Frames, store: str, link: Callable[[str], str]) -> str:
    """The page.

    Args:
        store: the store's root, for its name.
        link: from a path in the store to what the page links to.
    """
    parts = sections(frames)
    return _TEMPLATES.get_template("report.html").render(
        store_name=PurePosixPath(store).name,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sections=parts,
        sentences={part.title: list(questions.comparisons(part)["sentence"]) for part in parts},
        drawings={part.title: _drawings(part) for part in parts},
        numbers={part.title: _rows(part) for part in parts},
        progress=_progress(frames),
        provenance=provenance(frames),
        missing=frames.missing[~frames.missing["failed"]].to_dict("records"),
        failures=frames.failures.to_dict("records"),
        stages=_stage_rows(frames.stages, link),
        superseded=list(frames.stages.loc[frames.stages["superseded"], "name"]),
        leads={part.title: [questions.verdict(part), *questions.answers(part)] for part in parts},
        chances={part.title: questions.by_chance(part) for part in parts},
        words=words,
        plotly=Markup(get_plotlyjs()),
    )


def _drawings(section: Section) -> list[Drawing]:
    drawn = [(entry, entry.draw(section.frames)) for entry in CATALOGUE if entry.place != "store"]
    return [Drawing(entry.title, entry.caption, Markup(figure.to_json())) for entry, figure in drawn if figure.data]


def _rows(section: Section) -> list[dict[str, str]]:
    """The table of numbers, as text."""
    return [
        {
            "density": words.density(row["density"]),
            "method": words.method(row["method"]) if isinstance(row["method"], str) else "",
            "transfer": words.transfer(row["transfer"]),
            **{measure.name: _cell(row, measure.name) for measure in MEASURES},
        }
        for row in numbers(section).to_dict("records")
    ]


def _cell(row: dict[Any, Any], measure: str) -> str:
    if pd.isna(row[f"{measure}_mean"]):
        return ""
    n, chains = int(row[f"{measure}_trainings"]), int(row[f"{measure}_chains"])
    over = f"{n} in {words.count(chains, 'chain')}" if chains else str(n)
    return f"{words.mean_sd(row[f'{measure}_mean'], row[f'{measure}_sd'])} ({over})"


def _progress(frames: Frames) -> dict[str, int]:
    failed = int(frames.missing["failed"].sum())
    return {
        "planned": frames.planned,
        "done": frames.planned - len(frames.missing),
        "failed": failed,
        "missing": len(frames.missing) - failed,
    }


def _stage_rows(stages: pd.DataFrame, link: Callable[[str], str]) -> list[dict[str, Any]]:
    """Every stage with a link to its record, relative to the page."""
    rows = stages[["name", "kind", "seconds", "device", "git_commit"]].astype(object).fillna("")
    links = [quote(link(f"{path}/record.json"), safe="/:") for path in stages["folder"]]
    return [dict(row) for _, row in rows.assign(link=links).sort_values("name").iterrows()]


def _replace(path: Path, page: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".report.", delete=False) as file:
        file.write(page)
    made = Path(file.name)
    try:
        made.chmod(0o644)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


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
) -> None:
    """Write the report of a store as one HTML file that works offline."""
    try:
        typer.echo(write_report(store, out, published))
    except (StoreError, PublishedError, OSError) as error:
        typer.echo(visible(f"winning-sign-report: {error}"), err=True)
        raise typer.Exit(2) from error


def main() -> None:
    """The command line's entry point."""
    app()


if __name__ == "__main__":
    main()
