"""Answer the questions: compute every comparison, and state the results in sentences.

A claim is shown if the 95 % interval of its paired difference lies on the claim's side of 0; its reverse is shown if
the interval lies on the other side. Every count and sentence comes from the rows of ``comparisons``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict
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
from analysis.comparisons.questions import QUESTIONS, SIGNS_CARRY, Arm, Question
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
    """Compute every comparison that a section's results allow: by question, sparsest first.

    Returns:
        One row per question, round and method (missing if the question compares methods): ``question``, ``title``,
        ``claim``, ``measure``, ``unit`` (of a value), ``method``, ``round``, ``density``; for both sides
        ``{a, b}_mean``, ``_sd``, ``_trainings``, ``_chains``, ``_keys`` over all results (see ``spread``);
        ``difference``, ``low``, ``high`` (a - b over pairs, in points; NaN if unknown), ``standard_error`` (of the
        probes, in points; NaN for accuracy), ``pairs``, ``chains`` (of the pairs); ``outcome`` (``SHOWN``,
        ``REVERSE`` or ``NOT_SHOWN``) and ``sentence``.
    """
    rows = [row for question in questions for row in _compared(section, question)]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def answers(compared: pd.DataFrame, questions: Sequence[Question] = QUESTIONS) -> list[str]:
    """Answer each question in a sentence: in how many of the rows of ``comparisons``, and with which differences."""
    compared = compared[compared["pairs"] > 0]
    rows_of = {question: compared[compared["question"] == question.name] for question in questions}
    return [_answer(question, rows) for question, rows in rows_of.items() if not rows.empty]


def by_chance(compared: pd.DataFrame) -> str:
    """State how many claims chance alone would show; empty if no row of ``comparisons`` has an interval."""
    with_interval = compared[compared["low"].notna()]
    if with_interval.empty:
        return ""
    n, excluding = len(with_interval), int((with_interval["outcome"] != NOT_SHOWN).sum())
    return (
        f"Of {count(n, 'comparison')} with an interval, {excluding} {'excludes' if excluding == 1 else 'exclude'} 0; "
        f"without any effect, about {number(0.05 * n, DIGITS)} ({percent(5, 0)}) would exclude 0 by chance."
    )


def verdict(section: Section, compared: pd.DataFrame) -> str:
    """State the first claim with its numbers, at the sparsest density that has an interval.

    Args:
        compared: the section's ``comparisons``.
    """
    dense = spread(Arm("dense").of(section.trainings), ["transfer"], ACCURACY.column).to_dict("records")
    compared = compared[(compared["question"] == SIGNS_CARRY.name) & compared["low"].notna()]
    if compared.empty:
        reached = (f"{mean_sd(row['mean'], row['sd'], DIGITS)} % ({sample(row['trainings'], 0)})" for row in dense)
        sentences = "".join(f" Dense training reaches {each}." for each in reached)
        return f"Whether {_CLAIM} is not yet known: too few pairs of a signed and a mask transfer are done.{sentences}"
    rows = compared[compared["round"] == compared["round"].max()]
    at = float(rows["density"].mean())
    with_signs, mask_alone = (_by_method(rows, column) for column in ("a_mean", "b_mean"))
    against = "".join(f"; dense training reaches {percent(row['mean'], DIGITS)}" for row in dense)
    return (
        f"{_judged(rows)}: at density {density(at)} ({percent(100 * at, DIGITS)} of the prunable weights) a random "
        f"initialisation with the signed mask reaches {with_signs}, with the mask alone {mask_alone}{against}."
    )


def _compared(section: Section, question: Question) -> Iterator[dict[str, Any]]:
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
    groups = {tuple(rows.iloc[0][by]): difference(rows, replicates) for _, rows in paired.groupby(by)}
    a_cells, b_cells = (_cells(rows, by, measure.column) for rows in (a, b))
    order = sorted(a_cells.keys() & b_cells.keys(), key=lambda cell: (-cell[0], *map(rank, cell[1:])))
    for cell in order:
        result = groups.get(cell, Difference(nan, nan, nan, pairs=0, chains=0))
        row = {
            "question": question.name,
            "title": question.title,
            "claim": question.claim,
            "measure": measure.title,
            "unit": measure.unit,
            "density": a_cells[cell]["density"],
            **dict(zip(by, cell, strict=True)),
            **{f"{side}_{name}": of[cell][name] for side, of in (("a", a_cells), ("b", b_cells)) for name in _SIDE},
            **asdict(result),
            "difference": result.mean,
            "outcome": _outcome(question, result),
        }
        yield {**row, "sentence": _sentence(question, row, section.dataset)}


def _cells(rows: pd.DataFrame, by: list[str], value: str) -> dict[tuple[Any, ...], dict[Hashable, Any]]:
    """Return the spread of each group, by the group's labels."""
    summary = spread(rows.dropna(subset=by), by, value)
    return {tuple(row[name] for name in by): row for row in summary.to_dict("records")}


def _outcome(question: Question, result: Difference) -> str:
    if not result.shown:
        return NOT_SHOWN
    return SHOWN if question.supports(result.mean) else REVERSE


def _sentence(question: Question, row: dict[str, Any], dataset: str) -> str:
    under = f" under {method_name(row['method'])}" if "method" in row else ""
    claim = _claim(question, row["outcome"])
    return f"{claim}{under} at density {density(row['density'])} on {dataset}: {_numbers(row)}."


def _claim(question: Question, outcome: str) -> str:
    claims = {SHOWN: question.claim, REVERSE: question.reverse, NOT_SHOWN: f"not shown that {question.claim}"}
    return begin(claims[outcome])


def _numbers(row: dict[str, Any]) -> str:
    """State the difference, its interval, its replicates, and the two sides."""
    if not row["pairs"]:
        return "no pair with the same chain and seed is done yet"
    points = f"{signed(row['difference'], DIGITS)} points"
    if isnan(row["low"]):
        return f"{points} from one pair, which gives no interval"
    interval = f"[{number(row['low'], DIGITS)}, {number(row['high'], DIGITS)}]"
    over = f"n = {count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    caveat = ", which says nothing about other tickets" if row["chains"] == 1 else ""
    if row["b_trainings"] == 1:
        caveat += ", all against one training, whose own spread the interval does not include"
    a, b = (mean_sd(row[f"{side}_mean"], row[f"{side}_sd"], DIGITS) for side in "ab")
    error = (
        "" if isnan(row["standard_error"]) else f", the probes' standard error {number(row['standard_error'], DIGITS)}"
    )
    return f"{points} {interval}, {over}{caveat} ({a} against {b} {row['unit']}{error})"


def _answer(question: Question, rows: pd.DataFrame) -> str:
    shown, reverse = (int((rows["outcome"] == outcome).sum()) for outcome in (SHOWN, REVERSE))
    ends = between(rows["difference"].min(), rows["difference"].max(), DIGITS)
    differences = f"{question.measure.title} {ends} points"
    compared = count(len(rows), "comparison")
    if not shown and not reverse:
        reason = "every interval includes 0" if rows["low"].notna().any() else "one pair gives no interval"
        return f"{_claim(question, NOT_SHOWN)}: {differences} in {compared}, and {reason}."
    outcome, times, other = (SHOWN, shown, reverse) if shown else (REVERSE, reverse, 0)
    against = f", the reverse in {other}" if other else ""
    return f"{_claim(question, outcome)}: shown in {times} of {compared}{against}, {differences}."


def _judged(rows: pd.DataFrame) -> str:
    """State how far the first claim is shown, by method if methods differ."""
    first = {SHOWN: _CLAIM, NOT_SHOWN: f"it is not shown that {_CLAIM}", REVERSE: _CLAIM_REVERSED}
    then = {NOT_SHOWN: "this is not shown", REVERSE: "the reverse is shown"}
    methods = {outcome: rows.loc[rows["outcome"] == outcome, "method"].map(method_name) for outcome in first}
    head, *rest = [outcome for outcome, names in methods.items() if len(names)]
    under = {outcome: f" under {' and '.join(names)}" for outcome, names in methods.items()} if rest else {head: ""}
    return begin(first[head]) + under[head] + "".join(f", but {then[outcome]}{under[outcome]}" for outcome in rest)


def _by_method(rows: pd.DataFrame, column: str) -> str:
    """Write a percentage per method: 88.3 % (LRR) and 84.1 % (AWS)."""
    return " and ".join(
        f"{percent(mean, DIGITS)} ({method_name(name)})"
        for name, mean in zip(rows["method"], rows[column], strict=True)
    )
