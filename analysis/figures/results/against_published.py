"""Published series beside the series of ours that are like for like (paper figure 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, number, rank, transfer_name
from analysis.figures import style
from analysis.figures.panel import DENSITY, PANEL_HEIGHT, Panel, compose
from analysis.figures.results.accuracy_by_density import ACCURACY_AXIS, accuracy_traces, mean_accuracies
from analysis.figures.results.reached import reached
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

UNSTATED = ("retrain", "signed", "mask")  # our starts beside a series whose file states no kind
NO_SOURCE = "without a source in the file"
# published series are grey, so markers, dashes and shades tell them apart; a series keeps its look in all panels
_SYMBOLS = (
    *("star", "hourglass", "pentagon", "bowtie", "diamond-open", "square-open", "triangle-up-open"),
    *("cross", "circle-open", "square", "star-open", "triangle-down-open"),
)
_DASHES = ("dot", "dash", "dashdot", "longdash", "longdashdot")
_GREYS = ("#808080", "#a0a0a0", "#6c6c6c")
FEW, HEIGHT_OF_ONE_MORE = 4, 20
"""A panel of more series than ``FEW`` is higher, by pixels a series, so that their lines stay apart."""


def against_published(frames: Frames) -> go.Figure:
    """Draw the published series of each start in grey, with the store's mean accuracy from the same start.

    One panel per section and start that both have; no traces if there is none. Series without a kind share a panel
    with ``UNSTATED``. The legend lists the series as their lines end, the most accurate one first.
    """
    starts = [each for part in sections(frames) for each in _of_starts(part)]
    series = sorted({str(name) for _, _, rows in starts for name in rows["series"]})
    panels = (
        Panel(
            f"{part.title}: {transfer_name(kind)}" if kind else part.title,
            [*accuracy_traces(part, [kind] if kind else UNSTATED), *_published_traces(rows, series)],
            DENSITY,
            ACCURACY_AXIS,
            PANEL_HEIGHT + HEIGHT_OF_ONE_MORE * max(0, rows["series"].nunique() - FEW),
        )
        for part, kind, rows in starts
    )
    return compose(panels, " ".join(_in_words(part, kind, rows) for part, kind, rows in starts), columns=2)


def _of_starts(section: Section) -> Iterator[tuple[Section, str, pd.DataFrame]]:
    """Yield each start that a published series and ours share, with the published rows, and the dense ones."""
    published = section.frames.published
    here = published[(published["dataset"] == section.dataset) & (published["architecture"] == section.architecture)]
    ours, _ = mean_accuracies(section)
    dense = here[here["kind"] == "dense"]
    for kind in sorted(set(here["kind"]) - {"dense"}, key=rank):
        if not kind or (ours["transfer"] == kind).any():
            yield section, kind, pd.concat([here[here["kind"] == kind], dense])


def _published_traces(published: pd.DataFrame, series: list[str]) -> Iterable[go.Scatter]:
    ends = published.sort_values("density").drop_duplicates("series").sort_values("accuracy_percent", ascending=False)
    for name in ends["series"]:
        rows = published[published["series"] == name]
        place = series.index(str(name))
        grey = _GREYS[place % len(_GREYS)]
        label = style.text(f"{name} (published)")
        yield go.Scatter(
            x=rows["density"],
            y=rows["accuracy_percent"],
            customdata=[
                [f"density {density(at)}<br>published, {style.text(source or NO_SOURCE)}", at, ""]
                for at, source in zip(rows["density"], rows["source"], strict=True)
            ],
            error_y=style.error_bars(rows["sd_points"]) if rows["sd_points"].notna().any() else None,
            hovertemplate="%{y:.2f} %<br>%{customdata[0]}",
            name=label,
            legendgroup=label,
            meta={"published": True},
            mode="lines+markers",
            line={"color": grey, "dash": _DASHES[place % len(_DASHES)], "width": 1.5},
            marker={"color": grey, "symbol": _SYMBOLS[place % len(_SYMBOLS)], "size": 8},
        )


def _in_words(section: Section, kind: str, published: pd.DataFrame) -> str:
    """State every series of a panel at its sparsest density, beside ours if that is like for like."""
    compared = reached(section).set_index(["series", "density"])
    sparsest = published.sort_values("density").drop_duplicates("series")
    values = []
    for name, at, accuracy in sparsest[["series", "density", "accuracy_percent"]].itertuples(index=False):
        ours = compared.loc[(name, at), "ours_percent"]
        beside = "" if pd.isna(ours) else f", ours {number(ours)} %"
        values.append(f"{name} is published with {number(accuracy)} % at density {density(at)}{beside}")
    return f"{section.title}{f', {transfer_name(kind)}' if kind else ''}: {'; '.join(values)}."
