"""The page that compares two stores, and the sentences that its data share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from analysis.comparisons.labels import count, number
from analysis.comparisons.stores import (
    DIFFERS,
    NO_INTERVAL,
    NOT_SHOWN,
    UNJUDGED,
    ComparedPart,
    compare_parts,
    parts_of_one,
)
from analysis.figures import Entry, stores_compared
from analysis.frames.load import Frames
from analysis.page.drawings import StageSets, drawings
from analysis.page.rendering import write_page
from analysis.page.stages import provenance

_FIGURE = (
    "Each mark is a result that both stores have: its mean in the first store to the right, in the second store "
    "upwards, each with its 95 % interval. On the dotted line both are equal. A large mark differs: the adjusted "
    "interval of the difference excludes 0. Below are differences of pairs, such as signs − mask alone."
)


def names_of(roots: tuple[str, str]) -> tuple[str, str]:
    """Name two stores by the last parts of their roots, or by their roots if these are the same."""
    first, second = (PurePosixPath(root).name for root in roots)
    return (first, second) if first != second else roots


def render_compared(a: Frames, b: Frames, unequal: pd.DataFrame, link: Callable[[str], str]) -> str:
    """Return the page that compares two stores as HTML.

    Args:
        unequal: the stages that both hold with different results: the frame ``disagreements`` of both.
        link: turns a path that begins with its store's root into the address that the page links to.
    """
    names = names_of((a.stores[0], b.stores[0]))
    parts = compare_parts(a, b, unequal, names)
    whole = pd.concat([a.stages, b.stages]).drop_duplicates("key")
    both = replace(a, stages=whole, stores=(*a.stores, *b.stores))
    only = parts_of_one(a, b, names)
    several = len(parts) > 1
    for part in parts:
        for name, results in part.only.items():
            only[name] += [f"{part.a.title}: {result}" if several else result for result in results]
    sets = StageSets(both)
    return write_page(
        "compared.html",
        both,
        link,
        sets,
        store_name=" and ".join(names),
        names=names,
        parts=[_part(f"s{number_}", part, sets) for number_, part in enumerate(parts, start=1)],
        only=only,
        made_on={name: provenance(frames) for name, frames in zip(names, (a, b), strict=True)},
    )


def _part(id_: str, part: ComparedPart, sets: StageSets) -> dict[str, Any]:
    entry = Entry("stores_compared", "Both stores", _FIGURE, lambda _: stores_compared([part]))
    file = "-".join((part.a.dataset, part.a.architecture, part.a.preset))
    return {
        "id": id_,
        "section": part.a,
        "recipe": recipe(part),
        "verdict": verdict(part),
        "sureness": sureness(part),
        "primary": part.results.loc[part.results["primary"], "sentence"].tolist(),
        "fields": part.fields.to_dict("records"),
        "results": [
            ("shown to differ" if outcome == DIFFERS else outcome, rows.to_dict("records"))
            for outcome in (DIFFERS, UNJUDGED, NOT_SHOWN, NO_INTERVAL)
            if len(rows := part.results[part.results["outcome"] == outcome])
        ],
        "drawings": list(drawings([entry], id_, file, part.a.frames, "results", sets)),
    }


def recipe(part: ComparedPart) -> str:
    """State what differs in the recipes, and whether the comparison checks a replication."""
    first, second = part.names
    if part.equal_fields is None:
        differing = "A store has no recipe: sweeps of earlier versions kept none."
    elif part.fields.empty:
        differing = f"All {part.equal_fields} fields of the recipe are equal."
    else:
        fields = ", ".join(part.fields["field"])
        differing = f"{count(len(part.fields), 'field')} of the recipe differ{'s' * (len(part.fields) == 1)}: {fields}."
    if not part.same:
        return differing
    equal = f"{part.same} of {count(part.stages, 'stage')} of the same name in {first} and {second} have the same key"
    if part.unequal:
        equal += f"; {part.unequal} of these have other results, by at most {number(part.most_points)} points"
    else:
        equal += ", and these have equal results"
    if not part.replication:
        return f"{differing} {equal}."
    return (
        f"What both stores hold comes from the same recipe, seeds and data, so this is a replication check: {equal}. "
        f"Beyond that: {differing}"
    )


def verdict(part: ComparedPart) -> str:
    """State how many results differ."""
    first, second = part.names
    unfinished = [
        f"{name} has {len(side.frames.stages)} of {count(len(side.frames.stages) + len(side.frames.missing), 'stage')}"
        for name, side in zip(part.names, (part.a, part.b), strict=True)
        if len(side.frames.missing)
    ]
    outcomes = part.results["outcome"]
    tested = int((outcomes != NO_INTERVAL).sum())
    if part.results.empty:
        return f"{first} and {second} have no result in common."
    if unfinished:
        return f"Preliminary: {' and '.join(unfinished)}. Nothing is judged before both are complete."
    if not tested:
        return "No result has an interval: a store has a single chain."
    differing = int((outcomes == DIFFERS).sum())
    if not differing:
        return f"None of {count(tested, 'result')} is shown to differ."
    return f"{differing} of {count(tested, 'result')} differ{'s' * (differing == 1)}."


def sureness(part: ComparedPart) -> str:
    """State what the intervals are over, and what they are adjusted for."""
    tested = part.results[part.results["outcome"] != NO_INTERVAL]
    chains = [int(part.results[f"{side}_chains"].max()) if len(part.results) else 0 for side in "ab"]
    over = " and ".join(f"{count(n, 'chain')} in {name}" for n, name in zip(chains, part.names, strict=True))
    sentences = [f"Chains are the replicates: {over}."]
    if len(tested):
        primary = int(tested["primary"].sum())
        share = f", of which {primary} primary ones share 80 % of the 5 %" if 0 < primary < len(tested) else ""
        sentences.append(
            f"Intervals are unpaired (Welch's t). The adjusted ones hold for all {count(len(tested), 'comparison')} "
            f"together{share}."
        )
    if len(tested) < len(part.results):
        alone = count(len(part.results) - len(tested), "result")
        sentences.append(f"{alone} without an interval: one chain, or one dense training, says nothing about others.")
    if part.same and len(tested):
        sentences.append(
            "Results of the same key count as if they were independent, which can only widen the intervals."
        )
    return " ".join(sentences)
