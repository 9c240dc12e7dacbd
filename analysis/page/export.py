"""Export a report's data: each frame as CSV and Parquet, numbers and comparisons as LaTeX, all results as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from shutil import rmtree

import pandas as pd

from analysis.comparisons.answers import comparisons
from analysis.comparisons.measures import MEASURES, as_text, numbers, usual_replicates
from analysis.figures.results.reached import reached
from analysis.frames.load import Frames
from analysis.frames.sections import SETTING, Section, sections
from analysis.page.results import Results, citation, results

_SIGNS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "−": "$-$",
        "ψ": r"$\psi$",
        "λ": r"$\lambda$",
        "·": r"$\cdot$",
        "\N{NO-BREAK SPACE}": "~",
    }
)


def export(frames: Frames, folder: Path) -> None:
    """Write the frames, ``numbers`` and ``comparisons`` into a folder, replacing files of the same names.

    ``results.json`` holds all that the report states, by the schema ``results.schema.json``; ``citation.bib`` what to
    cite (``analysis.page.results``).

    Raises:
        OSError: the folder cannot be made or written.
    """
    write_files(folder, partial(_write, frames))


def write_files(folder: Path, write: Callable[[Path], None]) -> None:
    """Write files into a folder; all are complete before the first is moved there, replacing files of the same names.

    Args:
        write: writes all files into an empty folder.

    Raises:
        OSError: the folder cannot be made or written.
    """
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        beside = Path(tempfile.mkdtemp(prefix=".export.", dir=folder))
        try:
            write(beside)
            for file in sorted(beside.iterdir()):
                file.replace(folder / file.name)
        finally:
            rmtree(beside)
    except BaseException:
        if is_new:
            rmtree(folder)
        raise


def _tables(
    frames: Frames, parts: list[Section], counted: list[pd.DataFrame], compared: list[pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return every table of the export by its name, from the numbers and comparisons of each section."""
    values = {each.name: getattr(frames, each.name) for each in fields(frames)}
    of_store = {name: value for name, value in values.items() if isinstance(value, pd.DataFrame)}
    return {
        **of_store,
        "numbers": with_setting_first(list(zip(parts, counted, strict=True))),
        "comparisons": with_setting_first(list(zip(parts, compared, strict=True)), "sentence"),
        "reached": with_setting_first([(part, reached(part)) for part in parts], "outcome"),
    }


def _write(frames: Frames, folder: Path) -> None:
    parts = sections(frames)
    counted, compared = list(map(numbers, parts)), list(map(comparisons, parts))
    for name, frame in _tables(frames, parts, counted, compared).items():
        write_table(frame, folder, name)
    for name, latex in (
        ("numbers", _numbers_as_latex(parts, counted)),
        ("comparisons", _comparisons_as_latex(parts, compared)),
    ):
        (folder / f"{name}.tex").write_text("\n".join(latex), encoding="utf-8")
    (folder / "results.json").write_text(results(frames, compared).model_dump_json(indent=1), encoding="utf-8")
    schema = json.dumps(Results.model_json_schema(), indent=1)
    (folder / "results.schema.json").write_text(schema, encoding="utf-8")
    (folder / "citation.bib").write_text(citation(frames), encoding="utf-8")


def write_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Write a frame as CSV and Parquet."""
    flat = _flat(frame)
    flat.to_csv(folder / f"{name}.csv", index=False)
    flat.to_parquet(folder / f"{name}.parquet", index=False)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn columns of lists, mappings or several types into JSON: a Parquet column has one simple type."""
    mixed = [name for name in frame.columns if frame[name].dtype == object and not _simple(frame[name].dropna())]
    return frame.assign(**{str(name): frame[name].map(json.dumps, na_action="ignore") for name in mixed})


def _simple(cells: pd.Series) -> bool:
    kinds = {type(cell) for cell in cells}
    return len(kinds) < 2 and not kinds & {list, dict}


def with_setting_first(tables: list[tuple[Section, pd.DataFrame]], *columns: str) -> pd.DataFrame:
    """Join the sections' tables; without sections, the table is empty and has ``columns``."""
    if not tables:
        return pd.DataFrame(columns=[*SETTING, *columns], dtype="str")
    labelled = [rows.assign(**{name: getattr(part, name) for name in SETTING}) for part, rows in tables]
    whole = pd.concat(labelled, ignore_index=True)
    return whole[[*SETTING, *(name for name in whole.columns if name not in SETTING)]]


def _numbers_as_latex(parts: list[Section], counted: list[pd.DataFrame]) -> Iterator[str]:
    heads = {"transfer": "start", **{measure.name: measure.heading for measure in MEASURES}}
    for part, of_part in zip(parts, counted, strict=True):
        cells = of_part.to_dict("records")
        usual = usual_replicates(cells)
        rows = pd.DataFrame([as_text(row, usual) for row in cells]).rename(columns=heads)
        if not rows.empty:
            over = f"n = {usual}; cells with another n name it"
            yield _table(rows, f"{part.title}. Mean ± standard deviation over chains; {over}.")


def _comparisons_as_latex(parts: list[Section], compared: list[pd.DataFrame]) -> Iterator[str]:
    for part, of_part in zip(parts, compared, strict=True):
        rows = of_part[["sentence"]].set_axis(["comparison"], axis=1)
        if not rows.empty:
            yield _table(rows, part.title, r"p{\linewidth}")


def _table(rows: pd.DataFrame, caption: str, widths: str | None = None) -> str:
    """Return a ``table`` environment, which needs the package booktabs; every text is escaped."""
    cells = rows.map(escaped).rename(columns=escaped)
    return cells.to_latex(index=False, caption=escaped(caption), column_format=widths, escape=False)


def escaped(text: str) -> str:
    """Escape a text, so that LaTeX prints it verbatim."""
    return " ".join(text.splitlines()).translate(_SIGNS)
