"""Render the page from frames. A pure function: nothing is read or written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.comparisons import answers, labels
from analysis.comparisons.measures import MEASURES, measured, numbers
from analysis.figures import CATALOGUE, Entry
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections
from analysis.page.escaping import visible_json, visible_text
from analysis.page.glossary import TERMS, Explainer
from analysis.page.stages import FAILED, pending, progress, provenance, stage_data

HERO = "accuracy_by_density"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    finalize=visible_text,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes:
        id: the figure's anchor.
        file: name of the downloads, without an ending.
        height: in pixels, reserved until the figure is drawn.
        json: the figure for plotly.js; plotly escapes <, > and /, so the JSON cannot end its script element.
    """

    id: str
    file: str
    title: str
    caption: str
    summary: str
    height: int
    json: Markup


@dataclass(frozen=True)
class Part:
    """A section on the page.

    Attributes:
        verdict: the most important claim in one sentence.
        answers: a sentence per question.
        by_chance: number of claims that chance alone would show, in a sentence; may be empty.
        results, signs: figures of the results, and of the tickets.
        comparisons: every comparison's sentence, with its filter labels.
        numbers: rows of the table of numbers, with their filter labels.
    """

    id: str
    section: Section
    verdict: str
    answers: list[str]
    by_chance: str
    results: list[Drawing]
    signs: list[Drawing]
    comparisons: list[dict[str, Any]]
    numbers: list[dict[str, Any]]


def render(
    frames: Frames,
    store: str,
    link: Callable[[str], str],
    *,
    live: bool = False,
    version: str = "",
    checks: Iterable[Mapping[Any, Any]] = (),
    catalogue: Sequence[Entry] = CATALOGUE,
) -> str:
    """Return the page as HTML.

    Args:
        store: the store's root; its last part is the page's name.
        link: turns a path in the store into the address that the page links to.
        live: whether the page polls its server for news and shows them.
        version: the server's name for this page; the page replaces itself when the server has another version.
        checks: rules of the method, each with "rule", "verdict" ("holds", "broken" or "not checked"), "counted" and
            "detail".
        catalogue: the figures to draw.
    """
    parts = [_part(number, section, catalogue) for number, section in enumerate(sections(frames), start=1)]
    rows = pending(frames)
    stages = frames.stages
    return _TEMPLATES.get_template("report.html").render(
        store_name=PurePosixPath(store).name,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        parts=parts,
        hero=_hero(parts),
        whole=list(_drawings(catalogue, "store", "store", frames, "store")),
        progress=progress(frames),
        checks=list(checks),
        provenance=provenance(frames),
        pending=rows[rows["state"] != FAILED].to_dict("records"),
        failures=[{**row, "link": quote(link(row["log"]), safe="/:")} for row in frames.failures.to_dict("records")],
        superseded=sorted(stages.loc[stages["superseded"], "name"]),
        stages=len(stages),
        data=_script(stage_data(frames, link)),
        choices=_choices(frames),
        live=live,
        version=version,
        count=labels.count,
        explain=Explainer(),
        glossary=TERMS,
        plotly=Markup(get_plotlyjs()),
    )


def notice(store: str, sentence: str) -> str:
    """Return the notice of a live page without content: the page gives the reason, and reloads every few seconds.

    Args:
        store: the store's root; its last part is the page's name.
    """
    return _TEMPLATES.get_template("notice.html").render(store_name=PurePosixPath(store).name, sentence=sentence)


def _hero(parts: Sequence[Part]) -> Drawing | None:
    """Choose the figure beside the first verdict."""
    drawn = [drawing for part in parts for drawing in part.results]
    return next((drawing for drawing in drawn if drawing.id.endswith(f"-{HERO}")), drawn[0] if drawn else None)


def _part(number: int, section: Section, catalogue: Sequence[Entry]) -> Part:
    name = f"s{number}"
    file = "-".join((section.dataset, section.architecture, section.preset))
    drawings = {place: list(_drawings(catalogue, name, file, section.frames, place)) for place in ("results", "signs")}
    return Part(
        id=name,
        section=section,
        verdict=answers.verdict(section),
        answers=answers.answers(section),
        by_chance=answers.by_chance(section),
        results=drawings["results"],
        signs=drawings["signs"],
        comparisons=list(_comparisons(section)),
        numbers=list(_numbers(section)),
    )


def _comparisons(section: Section) -> Iterator[dict[str, Any]]:
    """Yield every comparison's sentence with its filter labels; an empty label matches every choice."""
    rows = answers.comparisons(section).reindex(columns=["sentence", "method", "density"])
    for row in rows.to_dict("records"):
        yield {
            "sentence": row["sentence"],
            "method": row["method"] if isinstance(row["method"], str) else "",
            "density": "" if pd.isna(row["density"]) else row["density"],
        }


def _drawings(catalogue: Sequence[Entry], id_: str, file: str, frames: Frames, place: str) -> Iterator[Drawing]:
    for entry in catalogue:
        if entry.place == place:
            yield from _drawing(entry, id_, file, frames)


def _drawing(entry: Entry, id_: str, file: str, frames: Frames) -> Iterator[Drawing]:
    figure = entry.draw(frames)
    if figure.data:
        yield Drawing(
            id=f"{id_}-{entry.name}",
            file="".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in f"{file}-{entry.name}"),
            title=entry.title,
            caption=entry.caption,
            summary=(figure.layout.meta or {}).get("summary", ""),
            height=int(figure.layout.height or 450),
            json=Markup(visible_json(figure.to_json(engine="json"))),  # in ASCII, unlike orjson's
        )


def _numbers(section: Section) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of numbers, as text, with their filter labels."""
    for row in numbers(section).to_dict("records"):
        yield {
            "at": "" if pd.isna(row["density"]) else row["density"],
            "by": row["method"] if isinstance(row["method"], str) else "",
            "density": labels.density(row["density"]),
            "method": labels.method_name(row["method"]) if isinstance(row["method"], str) else "",
            "transfer": labels.transfer_name(row["transfer"]),
            **{measure.name: measured(row, measure.name) for measure in MEASURES},
        }


def _choices(frames: Frames) -> dict[str, Sequence[tuple[str, str]]]:
    """Return the filters' choices: each label's values with their names, and the distinct densities."""
    rows = frames.stages[~frames.stages["superseded"]]
    densities = sorted({labels.density(value) for value in rows["density"].dropna()}, key=float, reverse=True)
    methods = sorted(rows["method"].dropna().unique(), key=labels.rank)
    settings = {name: sorted(rows[name].dropna().unique()) for name in ("dataset", "architecture", "preset")}
    return {
        **{name: [(value, value) for value in values] for name, values in settings.items()},
        "method": [(value, labels.method_name(value)) for value in methods],
        "density": [(value, value) for value in densities],
    }


def _script(value: Any) -> Markup:
    """Write JSON that cannot end its script element."""
    text = visible_json(json.dumps(value, separators=(",", ":"), allow_nan=False))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
