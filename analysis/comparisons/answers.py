"""What the data say: every comparison that the claims call for, made once, and sentences that are read off them.

A claim is shown where the 95 % interval of a paired difference leaves out 0 on its side, the reverse where on the
other; all else is not shown. Whatever is counted or said is counted and said of the rows of ``comparisons``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan, nan
from typing import Any

import pandas as pd

from analysis.comparisons.labels import (
    begin,
    between,
    count,
    density,
    mean_sd,
    method_name,
    number,
    percent,
    rank,
    sample,
    signed,
)
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.questions import DENSE, QUESTIONS, SIGNS_CARRY, Question
from analysis.comparisons.statistics import Difference, difference, pairs, spread
from analysis.frames.sections import Section

SHOWN, REVERSE, NOT_SHOWN = "shown", "the reverse is shown", "not shown"
DIGITS = 1  # of a percentage or of points in a sentence
_CLAIM = "the signs of a pruned network carry accuracy that its mask alone does not"
_CLAIM_REVERSED = "the signs of a pruned network cost accuracy that its mask alone keeps"
_SIDE = ("mean", "sd", "trainings", "chains", "keys")
_COLUMNS = {
    **dict.fromkeys(("question", "title", "claim", "measure", "unit", "method"), "str"),
    "round": "Int64",
    "density": "float64",
    **{f"{side}_{name}": "float64" for side in "ab" for name in ("mean", "sd")},
    **{f"{side}_{name}": "int64" for side in "ab" for name in ("trainings", "chains")},
    **{f"{side}_keys": "str" for side in "ab"},
    **dict.fromkeys(("difference", "low", "high", "standard_error"), "float64"),
    **dict.fromkeys(("pairs", "chains"), "int64"),
    **dict.fromkeys(("outcome", "sentence"), "str"),
}


def comparisons(section: Section, questions: Sequence[Question] = QUESTIONS) -> pd.DataFrame:
    """Every comparison that the section's results allow: by question, then the sparsest first.

    Returns:
        One row per question, round and method (missing where methods are what is compared): ``question``, ``title``,
        ``claim``, ``measure``, ``unit`` (of a value), ``method``, ``round``, ``density``; for both sides
        ``{a, b}_mean``, ``_sd``, ``_trainings``, ``_chains``, ``_keys`` over all that is there (see ``spread``);
        ``difference``, ``low``, ``high`` (a - b over pairs, in points; NaN where unknown), ``standard_error`` (of the
        probes, in points; NaN for accuracy), ``pairs``, ``chains`` (of the pairs); ``outcome`` (``SHOWN``,
        ``REVERSE`` or ``NOT_SHOWN``) and ``sentence``.
    """
    rows = [row for question in questions for row in _compared(section, question)]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def answers(section: Section, questions: Sequence[Question] = QUESTIONS) -> list[str]:
    """A sentence per question that the section can answer: in how many comparisons, and with which differences."""
    made = comparisons(section, questions)
    made = made[made["pairs"] > 0]
    found = [(question, made[made["question"] == question.name]) for question in questions]
    return [_answer(question, rows) for question, rows in found if not rows.empty]


def by_chance(section: Section) -> str:
    """How many of the section's claims chance alone would give; empty where no interval could leave out 0."""
    made = comparisons(section)
    with_interval = made[made["low"].notna()]
    if with_interval.empty:
        return ""
    n, said = len(with_interval), int((with_interval["outcome"] != NOT_SHOWN).sum())
    return (
        f"Of {count(n, 'comparison')} with an interval, {said} {'leaves' if said == 1 else 'leave'} out 0; "
        f"if nothing had any effect, chance alone would make about {number(0.05 * n, DIGITS)} do so ({percent(5, 0)})."
    )


def verdict(section: Section) -> str:
    """The first claim in one sentence with its numbers, at the sparsest density that gives an interval."""
    dense = spread(DENSE.of(section.trainings), ["transfer"], ACCURACY.column).to_dict("records")
    made = comparisons(section, [SIGNS_CARRY])
    made = made[made["low"].notna()]
    if made.empty:
        over = (f"{mean_sd(row['mean'], row['sd'], DIGITS)} % ({sample(row['trainings'], 0)})" for row in dense)
        known = "".join(f" Dense training reaches {each}." for each in over)
        return f"Whether {_CLAIM} is not yet known: too few pairs of a signed and a mask transfer are done.{known}"
    rows = made[made["round"] == made["round"].max()]
    at = float(rows["density"].mean())
    reached, alone = (_by_method(rows, column) for column in ("a_mean", "b_mean"))
    against = "".join(f"; dense training reaches {percent(row['mean'], DIGITS)}" for row in dense)
    return (
        f"{_judged(rows)}: at density {density(at)} ({percent(100 * at, DIGITS)} of the prunable weights left) a "
        f"random initialisation given only the signed mask reaches {reached}, given only the mask {alone}{against}."
    )


def _compared(section: Section, question: Question) -> Iterator[dict[str, Any]]:
    measure, by = question.measure, question.by
    stages = measure.rows(section)
    a = question.a.of(stages).dropna(subset=by)
    b = question.b.of(stages)
    if a.empty or b.empty:
        return
    replicates: tuple[str, ...] = ("chain",)
    if "chain" not in question.partners:  # dense trainings have neither round nor method: each group meets all of them
        b = a[by].drop_duplicates().merge(b.drop(columns=by), how="cross")
        replicates = ("chain", "seed")
    paired = pairs(a, b, measure.column, by, question.partners, measure.error)
    groups = {tuple(rows.iloc[0][by]): difference(rows, replicates) for _, rows in paired.groupby(by)}
    a_cells, b_cells = (_cells(rows, by, measure.column) for rows in (a, b))
    order = sorted(a_cells.keys() & b_cells.keys(), key=lambda cell: (-cell[0], *map(rank, cell[1:])))
    for cell in order:
        found = groups.get(cell, Difference(nan, nan, nan, pairs=0, chains=0))
        row = {
            "question": question.name,
            "title": question.title,
            "claim": question.claim,
            "measure": measure.title,
            "unit": measure.unit,
            "density": a_cells[cell]["density"],
            **dict(zip(by, cell, strict=True)),
            **{f"a_{name}": a_cells[cell][name] for name in _SIDE},
            **{f"b_{name}": b_cells[cell][name] for name in _SIDE},
            "difference": found.mean,
            "low": found.low,
            "high": found.high,
            "standard_error": found.standard_error,
            "pairs": found.pairs,
            "chains": found.chains,
            "outcome": _outcome(question, found),
        }
        yield {**row, "sentence": _sentence(question, row, section.dataset)}


def _cells(rows: pd.DataFrame, by: list[str], value: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The spread of each group, by the group's labels."""
    summary = spread(rows.dropna(subset=by), by, value).to_dict("records")
    named = [{str(column): entry for column, entry in row.items()} for row in summary]
    return {tuple(row[name] for name in by): row for row in named}


def _outcome(question: Question, found: Difference) -> str:
    if not found.shown:
        return NOT_SHOWN
    return SHOWN if question.supports(found.mean) else REVERSE


def _sentence(question: Question, row: dict[str, Any], dataset: str) -> str:
    under = f" under {method_name(row['method'])}" if "method" in row else ""
    return f"{_said(question, row['outcome'])}{under} at density {density(row['density'])} on {dataset}: {_found(row)}."


def _said(question: Question, outcome: str) -> str:
    said = {SHOWN: question.claim, REVERSE: question.reverse, NOT_SHOWN: f"not shown that {question.claim}"}
    return begin(said[outcome])


def _found(row: dict[str, Any]) -> str:
    """The difference, its interval, what it is over, and what it is between."""
    if not row["pairs"]:
        return "no pair of the same chain and seed is done yet"
    points = f"{signed(row['difference'], DIGITS)} points"
    if isnan(row["low"]):
        return f"{points} from one pair, and one pair gives no interval"
    interval = f"[{number(row['low'], DIGITS)}, {number(row['high'], DIGITS)}]"
    over = f"n = {count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    caveat = ", which cannot tell about other tickets" if row["chains"] == 1 else ""
    if row["b_trainings"] == 1:
        caveat += ", all against one training, whose own chance the interval leaves out"
    a, b = (mean_sd(row[f"{side}_mean"], row[f"{side}_sd"], DIGITS) for side in "ab")
    error = "" if isnan(row["standard_error"]) else f", the probes' own error {number(row['standard_error'], DIGITS)}"
    return f"{points} {interval}, {over}{caveat} ({a} against {b} {row['unit']}{error})"


def _answer(question: Question, rows: pd.DataFrame) -> str:
    shown, reverse = (int((rows["outcome"] == outcome).sum()) for outcome in (SHOWN, REVERSE))
    found = f"{question.measure.title} {between(rows['difference'].min(), rows['difference'].max(), DIGITS)} points"
    made = count(len(rows), "comparison")
    if not shown and not reverse:
        why = "no interval leaves out 0" if rows["low"].notna().any() else "one pair gives no interval"
        return f"{_said(question, NOT_SHOWN)}: {found} in {made}, and {why}."
    outcome, times, other = (SHOWN, shown, reverse) if shown else (REVERSE, reverse, 0)
    against = f", the reverse in {other}" if other else ""
    return f"{_said(question, outcome)}: shown in {times} of {made}{against}, {found}."


def _judged(rows: pd.DataFrame) -> str:
    """The first claim as far as it is shown, by method where they differ."""
    first = {SHOWN: _CLAIM, NOT_SHOWN: f"it is not shown that {_CLAIM}", REVERSE: _CLAIM_REVERSED}
    then = {NOT_SHOWN: "this is not shown", REVERSE: "the reverse is shown"}
    methods = {outcome: rows.loc[rows["outcome"] == outcome, "method"].map(method_name) for outcome in first}
    head, *rest = [outcome for outcome, names in methods.items() if len(names)]
    under = {outcome: f" under {' and '.join(names)}" for outcome, names in methods.items()} if rest else {head: ""}
    return begin(first[head]) + under[head] + "".join(f", but {then[outcome]}{under[outcome]}" for outcome in rest)


def _by_method(rows: pd.DataFrame, column: str) -> str:
    """88.3 % (LRR) and 84.1 % (AWS)."""
    return " and ".join(
        f"{percent(mean, DIGITS)} ({method_name(name)})"
        for name, mean in zip(rows["method"], rows[column], strict=True)
    )
