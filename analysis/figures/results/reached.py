"""Each published result beside the result of ours that is like for like: reached, not reached, or not comparable."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from math import isclose, isnan
from typing import Any

import pandas as pd

from analysis.comparisons.labels import count, density, method_name, number, percent, transfer_name
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.statistics import spread
from analysis.frames.published.reading import SETTINGS
from analysis.frames.sections import Section

REACHED, NOT_REACHED, NOT_COMPARABLE = "reached", "not reached", "not comparable"
NEAR = 0.05
"""Two densities whose ratio differs from 1 by less are compared."""
MOST_UNPRUNED_PERCENT = 2.5
"""Of the weights that a published density counts; beyond, the densities mean different networks."""
OWN_SIZE = "the data set's own"
OWN_PIXELS = {"cifar10": 32, "cifar100": 32, "tiny-imagenet": 64, "imagenet": 224}
"""Side of the images of data sets with published series, unless a recipe changes it; ImageNet's are cropped to it."""
COLUMNS = (
    "series",
    "density",
    "published_percent",
    "ours_percent",
    "ours_density",
    "outcome",
    "why",
    "remarks",
    "source",
)


def reached(section: Section) -> pd.DataFrame:
    """Compare every published result of the section's data set and architecture with ours.

    A result of ours is like for like if its start is the published ``kind`` and its method the published ``method``,
    its training has the published settings, and a round has about the published density (``NEAR``). Ours reaches it if
    the published value is at most our mean, or lies within the mean's 95 % interval over chains.

    Returns:
        A row per published result: ``series``, ``density``, ``published_percent``, ``ours_percent`` and
        ``ours_density`` (NaN if there is none), ``outcome``, ``why`` in words, ``remarks`` on the series (what differs
        without making the two incomparable), and ``source``.
    """
    published = section.frames.published
    published = published[
        (published["dataset"] == section.dataset) & (published["architecture"] == section.architecture)
    ]
    ours = spread(section.trainings, ["method", "transfer", "round"], ACCURACY.column, within=ACCURACY.within)
    rows = [_compared(theirs, ours, section) for theirs in published.to_dict("records")]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def like_for_like(ours: pd.DataFrame, kind: str, method: str) -> pd.DataFrame:
    """Return the rows of ``spread`` with a published series' start and method; dense networks have no method."""
    rows = ours[ours["transfer"] == kind]
    return rows if kind == "dense" else rows[rows["method"] == method]


def _compared(theirs: Mapping[Hashable, Any], ours: pd.DataFrame, section: Section) -> dict[str, Any]:
    row = {
        "series": theirs["series"],
        "density": theirs["density"],
        "published_percent": theirs["accuracy_percent"],
        "remarks": "; ".join(_remarks(theirs, section)),
        "source": theirs["source"],
    }
    alike = like_for_like(ours, theirs["kind"], theirs["method"])
    if reason := _no_such_series(theirs, alike) or "; ".join(_differences(theirs, alike, section)):
        return {**row, "outcome": NOT_COMPARABLE, "why": reason}
    ratio = (alike["density"] / theirs["density"] - 1).abs()
    if ratio.min() >= NEAR:
        near = density(float(alike.loc[ratio.idxmin(), "density"]))
        why = f"no round of ours is within {100 * NEAR:g} % of this density; the nearest has {near}"
        return {**row, "outcome": NOT_COMPARABLE, "why": why}
    cell = alike.loc[ratio.idxmin()]
    outcome, how = _outcome(float(theirs["accuracy_percent"]), cell)
    if density(float(cell["density"])) != density(theirs["density"]):
        how = f"{how}; at our density {density(float(cell['density']))}"
    return {**row, "ours_percent": cell["mean"], "ours_density": cell["density"], "outcome": outcome, "why": how}


def _outcome(published: float, ours: pd.Series) -> tuple[str, str]:
    mean, high, chains = float(ours["mean"]), float(ours["high"]), int(ours["chains"])
    below = f"{number(published - mean)} points"
    if mean >= published:
        return REACHED, f"ours is {number(mean - published)} points higher"
    if chains < 2:
        return NOT_REACHED, f"by {below}, without an interval: fewer than 2 chains of ours are done"
    if high >= published:
        return REACHED, f"within our 95 % interval over {count(chains, 'chain')}, which ends at {percent(high)}"
    return NOT_REACHED, f"by {below}; our 95 % interval over {count(chains, 'chain')} ends at {percent(high)}"


def _no_such_series(theirs: Mapping[Hashable, Any], alike: pd.DataFrame) -> str:
    """Return why nothing of ours is like a published series at all; empty if something is."""
    if not theirs["kind"]:
        return "its file does not say which start of ours it is like (column kind)"
    if alike.empty:
        of = f" of {method_name(theirs['method'])}" if theirs["method"] else ""
        return f"no result of ours is like it: {transfer_name(theirs['kind'])}{of}"
    return "" if theirs["epochs"] > 0 else "the epochs of its training are not known"


def _differences(theirs: Mapping[Hashable, Any], alike: pd.DataFrame, section: Section) -> Iterator[str]:
    """Yield in words each stated setting in which a published series and ours differ."""
    protocols = section.frames.protocols
    keys = {key for joined in alike["keys"] for key in joined.split(",")}
    trainings = protocols[[any(key.startswith(short) for short in keys) for key in protocols["key"]]]
    if trainings.empty:
        yield "the settings of our training are not known"
        return
    ours = trainings.iloc[0]
    for name in SETTINGS:
        stated, value = theirs[name], ours[name]
        if name == "image_size":  # a series that states none has the data set's own
            own = OWN_PIXELS.get(section.dataset)  # our records state none either
            stated, value = (
                OWN_SIZE if pd.isna(each) or each == own else f"{each:g} pixels" for each in (stated, value)
            )
        elif stated == "" or pd.isna(stated):
            continue
        same = stated == value if isinstance(stated, str) else isclose(stated, value, rel_tol=1e-6)
        if not same:
            yield f"{name.replace('_', ' ')} {_text(stated)}, ours {_text(value)}"
    if theirs["unpruned_percent"] > MOST_UNPRUNED_PERCENT:
        share = percent(theirs["unpruned_percent"], 1)
        yield f"its density counts {theirs['density_counts']}, and ours leaves out {share} of these"


def _remarks(theirs: Mapping[Hashable, Any], section: Section) -> Iterator[str]:
    """Yield what differs without making a published series and ours incomparable."""
    if 0 < theirs["unpruned_percent"] <= MOST_UNPRUNED_PERCENT:
        share = percent(theirs["unpruned_percent"], 1)
        yield f"its density counts {theirs['density_counts']}, and ours leaves out {share} of these"
    data = section.frames.data
    images = data.loc[data["split"] == "test", "images"].dropna().unique()
    if not isnan(theirs["test_images"]) and any(theirs["test_images"] != each for each in images):
        yield f"it was tested on {theirs['test_images']:,.0f} images, ours on {', '.join(f'{n:,}' for n in images)}"
    if theirs["note"]:
        yield str(theirs["note"])


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value or "unknown")
