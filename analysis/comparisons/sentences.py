"""State results in sentences. Every count and number comes from the rows of ``comparisons``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
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
    signed,
)
from analysis.comparisons.power import MOST_CHAINS
from analysis.comparisons.questions import Question
from analysis.comparisons.study import Study

SHOWN, REVERSE, NEGLIGIBLE, NOT_SHOWN = "shown", "the reverse is shown", "negligible", "not shown"
UNJUDGED = "not judged yet"
DIGITS = 1  # of a percentage or of points in a sentence


def sentence(question: Question, row: Mapping[str, Any], dataset: str, margin_points: float) -> str:
    """State one comparison with its numbers.

    Args:
        row: of ``comparisons``, without its sentence.
    """
    under = f" under {method_name(row['method'])}" if "method" in row else ""
    claim = _claim(question, row["outcome"], margin_points)
    return f"{claim}{under} at density {density(row['density'])} on {dataset}: {_numbers(row)}."


def answers(compared: pd.DataFrame, questions: Sequence[Question]) -> list[str]:
    """Answer each question in a sentence: in how many of the rows of ``comparisons``, and with which differences."""
    compared = compared[compared["pairs"] > 0]
    rows_of = {question: compared[compared["question"] == question.name] for question in questions}
    return [_answer(question, rows) for question, rows in rows_of.items() if not rows.empty]


def adjustment(compared: pd.DataFrame, study: Study) -> str:
    """State how many intervals exclude 0, alone and adjusted; empty if no row of ``comparisons`` was judged."""
    judged = compared[compared["adjusted_low"].notna()]
    if judged.empty:
        return ""
    n = len(judged)
    alone = int(((judged["low"] > 0) | (judged["high"] < 0)).sum())
    adjusted = int(judged["outcome"].isin([SHOWN, REVERSE]).sum())
    return (
        f"Of {count(n, 'comparison')}, {_exclude(alone)} 0 by the 95 % interval alone (without any effect, about "
        f"{number(0.05 * n, DIGITS)} would), and {_exclude(adjusted)} 0 by the interval adjusted for all comparisons "
        f"and {count(len(study.looks), 'look')}. The adjusted interval decides."
    )


def _claim(question: Question, outcome: str, margin_points: float) -> str:
    claims = {
        SHOWN: question.claim,
        REVERSE: question.reverse,
        NEGLIGIBLE: f"{question.measure.title}, {question.title}, differs by less than {margin_points:g} points",
        NOT_SHOWN: f"not shown that {question.claim}",
        UNJUDGED: f"not judged yet whether {question.claim}",
    }
    return begin(claims[outcome])


def _numbers(row: Mapping[str, Any]) -> str:
    """State the difference, its intervals, its replicates, the two sides, and the chains that are still needed."""
    if not row["pairs"]:
        return "no pair with the same chain and seed is done yet"
    apart = f"{signed(row['difference'], DIGITS)} {row['difference_unit']}"
    if isnan(row["low"]):
        return f"{apart} from {_without_interval(row)}"
    both = interval(row["low"], row["high"])
    if not isnan(row["adjusted_low"]):
        both += f", adjusted {interval(row['adjusted_low'], row['adjusted_high'])}"
        if row["judged_chains"] != row["chains"]:
            both += f" at {count(row['judged_chains'], 'chain')}"
    over = f"n = {count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    caveat = ", which says nothing about other tickets" if row["chains"] == 1 else ""
    a, b = (mean_sd(row[f"{side}_mean"], row[f"{side}_sd"], DIGITS) for side in "ab")
    error = (
        "" if isnan(row["standard_error"]) else f", the probes' standard error {number(row['standard_error'], DIGITS)}"
    )
    return f"{apart} {both}, {over}{caveat} ({a} against {b} {row['unit']}{error}){_still_needed(row)}"


def _without_interval(row: Mapping[str, Any]) -> str:
    """Say why a difference has no interval."""
    if row["pairs"] == 1:
        return "one pair, which gives no interval"
    pairs = f"{count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    return f"{pairs}, all against one dense training, which gives no interval; --seeds 2 does"


def _still_needed(row: Mapping[str, Any]) -> str:
    """Say how many chains would show a difference of the size seen, if it is not shown."""
    if row["outcome"] != NOT_SHOWN or row["chains"] < 2 or row["difference"] == 0:
        return ""
    needed = row["chains_needed"]
    chains = f"more than {MOST_CHAINS:,}" if needed is None else f"about {needed}"
    return f"; {chains} chains would show a difference of this size (power 80 %)"


def _answer(question: Question, rows: pd.DataFrame) -> str:
    counts = {outcome: int((rows["outcome"] == outcome).sum()) for outcome in (SHOWN, REVERSE, NEGLIGIBLE, UNJUDGED)}
    shown, reverse, negligible, unjudged = counts.values()
    ends = between(rows["difference"].min(), rows["difference"].max(), DIGITS)
    ends = f"{ends} {question.measure.difference_unit}"
    differences = f"{question.measure.title} {ends}"
    compared = count(len(rows), "comparison")
    if unjudged:
        return f"Preliminary: {differences} ({question.title}) in {compared}; not judged yet whether {question.claim}."
    if shown and reverse:
        return f"Mixed: {question.claim} in {shown}, and {question.reverse} in {reverse} of {compared}; {differences}."
    if shown or reverse:
        claim, times = (question.claim, shown) if shown else (question.reverse, reverse)
        return f"{begin(claim)}: shown in {times} of {compared}, {differences}."
    if negligible:
        return (
            f"{begin(question.measure.title)} ({question.title}) differs by less than the study's margin in "
            f"{negligible} of {compared}: {ends}."
        )
    needed = list(rows["chains_needed"].dropna())
    chains = f" About {count(int(min(needed)), 'chain')} would show the clearest of them." if needed else ""
    reason = "every adjusted interval includes 0" if rows["adjusted_low"].notna().any() else "none has an interval"
    return f"Not shown that {question.claim}: {differences} in {compared}, and {reason}.{chains}"


def interval(low: float, high: float) -> str:
    """Write an interval."""
    return f"[{number(low, DIGITS)}, {number(high, DIGITS)}]"


def _exclude(n: int) -> str:
    return f"{n} {'excludes' if n == 1 else 'exclude'}"
