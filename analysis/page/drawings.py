"""The page's figures as plotly.js draws them, with the stages behind each point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from plotly.io.json import to_json_plotly

from analysis.comparisons.statistics import KEY_DIGITS
from analysis.figures import Entry
from analysis.frames.load import Frames
from analysis.page.escaping import visible_json
from analysis.page.stages import in_order


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes:
        name: of the catalogue's entry.
        file: name of the downloads, without an ending.
        height: in pixels, reserved until the figure is drawn.
        json: the figure for plotly.js; plotly escapes <, > and /, so the JSON cannot end its script element.
    """

    id: str
    name: str
    file: str
    title: str
    caption: str
    summary: str
    height: int
    json: Markup


class StageSets:
    """The sets of stages behind the page's points. Each is written once, however many points share it.

    Args:
        frames: the page's stages.
    """

    def __init__(self, frames: Frames) -> None:
        self._row = {key[:KEY_DIGITS]: row for row, key in enumerate(in_order(frames)["key"])}
        self._number: dict[str, int] = {}

    def number(self, keys: str) -> int:
        """Return the number of a set of stages, as a point's ``customdata`` names it: short keys, comma-separated."""
        return self._number.setdefault(keys, len(self._number))

    def rows(self) -> list[list[int | str]]:
        """Return the sets by number: each stage's row on the page, or its key if the page has no such stage."""
        return [[self._row.get(key, key) for key in keys.split(",") if key] for keys in self._number]


def drawings(
    catalogue: Sequence[Entry], id_: str, file: str, frames: Frames, place: str, sets: StageSets
) -> Iterator[Drawing]:
    """Draw the figures of a place; a figure without traces is left out."""
    for entry in catalogue:
        if entry.place == place and (figure := entry.draw(frames)).data:
            content = figure.to_plotly_json()
            for trace in content["data"]:
                if trace.get("customdata") is not None:
                    trace["customdata"] = _numbered(trace["customdata"], sets)
            yield Drawing(
                id=f"{id_}-{entry.name}",
                name=entry.name,
                file="".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in f"{file}-{entry.name}"),
                title=entry.title,
                caption=entry.caption,
                summary=(figure.layout.meta or {}).get("summary", ""),
                height=int(figure.layout.height or 450),
                json=Markup(visible_json(to_json_plotly(content, engine="json"))),  # in ASCII, unlike orjson's
            )


def _numbered(points: Any, sets: StageSets) -> list[Any]:
    """Replace the keys of each point by their set's number; a grid has rows of points."""
    numbered = []
    for point in points:
        if point is None or isinstance(point[0], str):
            numbered.append(point and [*point[:2], sets.number(point[2])])
        else:
            numbered.append(_numbered(point, sets))
    return numbered
