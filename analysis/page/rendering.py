"""Render the page from frames. A pure function: nothing is read or written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.comparisons import labels
from analysis.comparisons.answers import comparisons
from analysis.comparisons.headline import asked, sureness, verdict
from analysis.comparisons.measures import as_text, numbers, tabulated
from analysis.comparisons.questions import questions_of
from analysis.comparisons.sentences import adjustment, answers
from analysis.comparisons.study import study_of
from analysis.figures import CATALOGUE, Entry
from analysis.figures.results.reached import reached
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections
from analysis.page.drawings import Drawing, StageSets, drawings
from analysis.page.escaping import visible_json, visible_text
from analysis.page.glossary import TERMS, Explainer
from analysis.page.making import graph, machines
from analysis.page.published import outcomes_in_words, published_series
from analysis.page.stages import (
    FAILED,
    data_sets,
    different_data,
    different_devices,
    made_with,
    pending,
    progress,
    provenance,
    stage_data,
)
from workers.terminal.help import GLOSSARY_URL

ACCURACY, PATHS = "accuracy_by_density", "path_to_the_solution"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    finalize=visible_text,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


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
    sets = StageSets(frames)
    parts = [_part(f"s{number}", section, catalogue, sets) for number, section in enumerate(sections(frames), start=1)]
    rows = pending(frames)
    return write_page(
        "report.html",
        frames,
        link,
        sets,
        live=live,
        version=version,
        store_name=_name(frames, store),
        disagreements=frames.disagreements.to_dict("records"),
        parts=parts,
        hero=next((part["lead"] for part in parts if part["lead"]), None),
        across=list(drawings(catalogue, "across", "across", frames, "across", sets)),
        whole=list(drawings(catalogue, "store", "store", frames, "store", sets)),
        progress=progress(frames),
        checks=list(checks),
        data_sets=data_sets(frames),
        graph=graph(frames),
        machines=machines(frames),
        provenance=provenance(frames),
        pending=rows[rows["state"] != FAILED].to_dict("records"),
        failures=[{**row, "link": quote(link(row["log"]), safe="/:")} for row in frames.failures.to_dict("records")],
        superseded=sorted(frames.stages.loc[frames.stages["superseded"], "name"]),
        left_out=[*frames.left_out.values()],
    )


def write_page(
    template: str,
    frames: Frames,
    link: Callable[[str], str],
    sets: StageSets,
    *,
    live: bool = False,
    version: str = "",
    **content: Any,
) -> str:
    """Return a page as HTML, with the stages that its figures point to.

    Args:
        template: a file of ``templates/`` that is, or extends, report.html.
        frames: the stages behind its figures, table and filters.
        sets: of those stages, as the figures number them.
        link, live, version: see ``render``.
        content: what the template shows of its own.
    """
    return _TEMPLATES.get_template(template).render(
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        stages=len(frames.stages),
        data=_script({**stage_data(frames, link), "sets": sets.rows()}),
        choices=_choices(frames),
        live=live,
        version=version,
        count=labels.count,
        explain=Explainer(),
        glossary=TERMS,
        glossary_url=GLOSSARY_URL,
        plotly=Markup(get_plotlyjs()),
        **content,
    )


def notice(store: str, sentence: str) -> str:
    """Return the notice of a live page without content: the page gives the reason, and reloads every few seconds.

    Args:
        store: the store's root; its last part is the page's name.
    """
    return _TEMPLATES.get_template("notice.html").render(store_name=PurePosixPath(store).name, sentence=sentence)


def _name(frames: Frames, store: str) -> str:
    """Name the page after its store, or its stores."""
    return " and ".join(PurePosixPath(root).name for root in (frames.stores if len(frames.stores) > 1 else [store]))


def _lead(section: Section, results: Sequence[Drawing]) -> Drawing | None:
    """Choose the figure that shows the answer: accuracy against density, or the paths if one density was trained."""
    several = section.trainings.loc[section.trainings["method"].notna(), "round"].nunique() > 1
    wanted = (ACCURACY, PATHS) if several else (PATHS, ACCURACY)
    named = {drawing.name: drawing for drawing in results}
    return next((named[name] for name in wanted if name in named), next(iter(results), None))


def _part(id_: str, section: Section, catalogue: Sequence[Entry], sets: StageSets) -> dict[str, Any]:
    """Return a section as the page shows it: figures, sentences, and tables with their filter labels."""
    file = "-".join((section.dataset, section.architecture, section.preset))
    compared, counted, study = comparisons(section), numbers(section), study_of(section)
    published = reached(section)
    claim, ground = verdict(section, compared, study)
    results = list(drawings(catalogue, id_, file, section.frames, "results", sets))
    return {
        "id": id_,
        "section": section,
        "asked": asked(section, compared, study),
        "claim": claim,
        "ground": ground,
        "answers": answers(compared, questions_of(study.primary, section.frames.stages)),
        "judged": " ".join(part for part in (study.plan(), adjustment(compared, study)) if part),
        "sureness": sureness(section, compared, study),
        "results": results,
        "lead": _lead(section, results),
        "signs": list(drawings(catalogue, id_, file, section.frames, "signs", sets)),
        "comparisons": list(_comparisons(compared)),
        "published": published_series(published),
        "published_outcomes": outcomes_in_words(published),
        "measures": [(each.name, each.heading) for each in tabulated(counted.columns)],
        "numbers": list(_numbers(counted)),
        "made_with": made_with(section.frames),
        "devices": different_devices(section.frames.stages),
        "different_data": different_data(section.frames.data),
    }


def _comparisons(compared: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield every comparison's sentence with its filter labels; an empty label matches every choice."""
    rows = compared.reindex(columns=["sentence", "method", "density"])
    for row in rows.to_dict("records"):
        yield {
            "sentence": row["sentence"],
            "method": row["method"] if isinstance(row["method"], str) else "",
            "density": "" if pd.isna(row["density"]) else row["density"],
        }


def _numbers(counted: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of numbers, as text, with their filter labels."""
    for row in counted.to_dict("records"):
        labels_ = {"at": row["density"], "by": row["method"]}
        yield {**{name: "" if pd.isna(label) else label for name, label in labels_.items()}, **as_text(row)}


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
