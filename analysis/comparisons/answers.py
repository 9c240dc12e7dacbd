"""Answer the questions: compute every comparison of a section, and judge it at the looks of its study.

A claim is shown if, at a look, the adjusted interval of its paired difference lies on the claim's side of 0; its
reverse is shown if the interval lies on the other side. What a look has shown stands, whatever later looks see.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pandas as pd

from analysis.comparisons.labels import rank, source_of
from analysis.comparisons.power import chains_needed
from analysis.comparisons.questions import Question, questions_of
from analysis.comparisons.sentences import NEGLIGIBLE, NOT_SHOWN, REVERSE, SHOWN, UNJUDGED, sentence
from analysis.comparisons.statistics import Difference, difference, pairs, spread
from analysis.comparisons.study import Study, shares, study_of
from analysis.frames.sections import Section

_SIDE = ("mean", "sd", "trainings", "chains", "keys")
_COLUMNS = {
    **dict.fromkeys(("question", "title", "claim", "measure", "unit", "difference_unit", "method"), "str"),
    "round": "Int64",
    "density": "float64",
    **{f"{side}_{name}": "float64" for side in "ab" for name in ("mean", "sd")},
    **{f"{side}_{name}": "int64" for side in "ab" for name in ("trainings", "chains")},
    **{f"{side}_keys": "str" for side in "ab"},
    **dict.fromkeys(("difference", "low", "high", "standard_error", "adjusted_low", "adjusted_high"), "float64"),
    **dict.fromkeys(("pairs", "chains"), "int64"),
    "primary": "bool",
    **dict.fromkeys(("judged_chains", "chains_needed"), "Int64"),
    **dict.fromkeys(("outcome", "sentence"), "str"),
}


def comparisons(section: Section, questions: Sequence[Question] | None = None) -> pd.DataFrame:
    """Compute every comparison that a section's results allow: by question, sparsest first.

    Args:
        questions: those to ask; None asks the study's and the method's.

    Returns:
        One row per question, round and method (missing if the question compares methods): ``question``, ``title``,
        ``claim``, ``measure``, ``unit`` (of a value), ``difference_unit``, ``method``, ``round``, ``density``; for both
        sides ``{a, b}_mean``, ``_sd``, ``_trainings``, ``_chains``, ``_keys`` over all results (see ``spread``);
        ``difference``, ``low``, ``high`` (a - b over all pairs with its 95 % interval, in ``difference_unit``; NaN if
        unknown), ``standard_error`` (of barriers, in points; else NaN), ``pairs``, ``chains`` (of the pairs);
        ``primary``; ``adjusted_low``, ``adjusted_high`` (the interval at the look that judged, for all looks and
        comparisons; NaN before the first look), ``judged_chains`` (of that look), ``chains_needed`` (to show a
        difference of the size seen, with a power of 80 %, at the level that is left to the study; missing if unknown or
        above 1,000); ``outcome`` (``SHOWN``, ``REVERSE``, ``NEGLIGIBLE``, ``NOT_SHOWN`` or ``UNJUDGED``) and
        ``sentence``.
    """
    study = study_of(section)
    questions = questions_of(study.primary, section.frames.stages) if questions is None else questions
    cells = [cell for question in questions for cell in cells_of(section, question)]
    primary = _primary(cells, study)
    by_cell = zip(cells, shares(len(cells), primary), strict=True)
    rows = [_row(cell, share, place in primary, study, section) for place, (cell, share) in enumerate(by_cell)]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


@dataclass(frozen=True)
class Cell:
    """One comparison before it is judged: a question at a round, under a method if the question names none."""

    question: Question
    labels: dict[str, Any]
    sides: dict[str, dict[Hashable, Any]]
    paired: pd.DataFrame
    replicates: tuple[str, ...]


@dataclass(frozen=True)
class Judgement:
    """What the looks of a study say of one comparison.

    Attributes:
        low, high: the adjusted interval at the look that decided, or else at the last look; NaN before the first.
        chains: of that look; None before the first.
    """

    outcome: str
    low: float = nan
    high: float = nan
    chains: int | None = None


def judge(question: Question, paired: pd.DataFrame, replicates: Sequence[str], study: Study, share: float) -> Judgement:
    """Judge a comparison at each look in turn, until one decides.

    Args:
        paired: one row per pair of trainings, with ``chain``, ``seed`` and ``difference``.
        replicates: labels that the interval is over.
        share: the comparison's share of the 5 %.
    """
    judgement = Judgement(UNJUDGED)
    for look, level in zip(study.looks_done, study.levels(share), strict=False):
        rows = look.of(paired)
        result = difference(rows, replicates) if len(rows) else None
        if result is None or result.chains < 2 or not result.errors:
            judgement = Judgement(NOT_SHOWN, chains=look.chains)
            continue
        low, high = result.interval(level)
        judgement = Judgement(_outcome(question, low, high, study.margin_points), low, high, look.chains)
        if judgement.outcome != NOT_SHOWN:
            break
    return judgement


def _outcome(question: Question, low: float, high: float, margin: float) -> str:
    if low > 0 or high < 0:
        return SHOWN if question.supports(low) else REVERSE
    within = question.measure.difference_unit == "points" and -margin < low and high < margin
    return NEGLIGIBLE if within else NOT_SHOWN


def cells_of(section: Section, question: Question) -> Iterator[Cell]:
    """Yield a question's comparisons, sparsest first."""
    measure, by = question.measure, question.by
    stages = measure.rows(section)
    a = question.a.of(stages).dropna(subset=by)
    b = question.b.of(stages)
    if a.empty or b.empty:
        return
    replicates: tuple[str, ...] = ("chain",)
    if "chain" not in question.partners:  # dense trainings have no round or method: compare each group with all
        b = a[by].drop_duplicates().merge(b.drop(columns=by), how="cross")
        replicates = ("chain", "seed")
    paired = pairs(a, b, measure.column, by, question.partners, measure.error)
    groups = {tuple(rows.iloc[0][by]): rows for _, rows in paired.groupby(by)}
    a_cells, b_cells = (_cells(rows, by, measure.column) for rows in (a, b))
    for cell in sorted(a_cells.keys() & b_cells.keys(), key=lambda cell: (-cell[0], *map(rank, cell[1:]))):
        labels = {"density": a_cells[cell]["density"], **dict(zip(by, cell, strict=True))}
        sides = {"a": a_cells[cell], "b": b_cells[cell]}
        yield Cell(question, labels, sides, groups.get(cell, paired.iloc[:0]), replicates)


def _cells(rows: pd.DataFrame, by: list[str], value: str) -> dict[tuple[Any, ...], dict[Hashable, Any]]:
    """Return the spread of each group, by the group's labels."""
    summary = spread(rows.dropna(subset=by), by, value)
    return {tuple(row[name] for name in by): row for row in summary.to_dict("records")}


def _primary(cells: Sequence[Cell], study: Study) -> set[int]:
    """Return the places of the primary comparisons: of each primary question those at its sparsest density.

    Tickets from elsewhere have a sparsest density of their own, by source: they count their rounds by themselves.
    """
    sparsest: dict[tuple[str, str], int] = {}
    for cell in cells:
        name, round_ = _asked_of(cell), cell.labels["round"]
        sparsest[name] = max(round_, sparsest.get(name, round_))
    return {
        place
        for place, cell in enumerate(cells)
        if cell.question.name in study.primary and cell.labels["round"] == sparsest[_asked_of(cell)]
    }


def _asked_of(cell: Cell) -> tuple[str, str]:
    """A comparison's question, and where its tickets are from; empty for the sweep's own."""
    return cell.question.name, source_of(cell.labels.get("method"))


def _row(cell: Cell, share: float, primary: bool, study: Study, section: Section) -> dict[str, Any]:
    question = cell.question
    result = difference(cell.paired, cell.replicates) if len(cell.paired) else Difference(nan, (), 0, 0)
    judgement = judge(question, cell.paired, cell.replicates, study, share)
    sd = result.errors[0][0] * result.chains**0.5 if result.errors and result.chains > 1 else inf
    low, high = result.interval()
    level = study.level_left(share) if judgement.outcome == NOT_SHOWN else 0.0
    row = {
        "question": question.name,
        "title": question.title,
        "claim": question.claim,
        "measure": question.measure.title,
        "unit": question.measure.unit,
        "difference_unit": question.measure.difference_unit,
        **cell.labels,
        **{f"{side}_{name}": of[name] for side, of in cell.sides.items() for name in _SIDE},
        "difference": result.mean,
        "low": low,
        "high": high,
        "standard_error": result.standard_error,
        "pairs": result.pairs,
        "chains": result.chains,
        "primary": primary,
        "adjusted_low": judgement.low,
        "adjusted_high": judgement.high,
        "judged_chains": judgement.chains,
        "chains_needed": chains_needed(result.mean, sd, level) if judgement.outcome == NOT_SHOWN else None,
        "outcome": judgement.outcome,
    }
    return {**row, "sentence": sentence(question, row, section.dataset, study.margin_points)}
