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
    percent,
    sample,
    signed,
    transfer_name,
)
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.power import MOST_CHAINS
from analysis.comparisons.questions import SIGNS_CARRY, Arm, Question
from analysis.comparisons.statistics import spread
from analysis.comparisons.study import Study
from analysis.frames.sections import Section

SHOWN, REVERSE, NEGLIGIBLE, NOT_SHOWN = "shown", "the reverse is shown", "negligible", "not shown"
UNJUDGED = "not judged yet"
DIGITS = 1  # of a percentage or of points in a sentence
_CLAIM = "the signs of a pruned network carry accuracy that its mask alone does not"
_MOST_STARTS = 4  # named in a verdict
_CLAIM_REVERSED = "the signs of a pruned network cost accuracy that its mask alone keeps"


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


def asked(section: Section) -> str:
    """Return the question that ``verdict`` answers."""
    if _transfers_signs(section):
        return "Do the signs of a pruned network carry accuracy that its mask alone does not?"
    return "Which test accuracy do the networks reach after their final training?"


def _transfers_signs(section: Section) -> bool:
    """Whether the section transfers signs or plans to, so that it asks the method's first question."""
    frames = section.frames
    return bool(
        {SIGNS_CARRY.a.transfer, SIGNS_CARRY.b.transfer} & {*frames.stages["transfer"], *frames.missing["transfer"]}
    )


def verdict(section: Section, compared: pd.DataFrame, study: Study) -> tuple[str, str]:
    """State the first claim, and its numbers at the sparsest density that has an interval.

    Without transfers of signs or masks, state the accuracies at the sparsest density instead.

    Args:
        compared: the section's ``comparisons``.

    Returns:
        The claim, and what it rests on.
    """
    dense = spread(Arm("dense").of(section.trainings), ["transfer"], ACCURACY.column).to_dict("records")
    rows = _first(compared)
    head = f"Preliminary: {study.progress()}" if study.preliminary else ""
    reached = [f"{mean_sd(row['mean'], row['sd'], DIGITS)} % ({sample(row['trainings'], 0)})" for row in dense]
    if not _transfers_signs(section):
        sparse = _accuracies(section)
        claim = sparse or (f"Dense training reaches {reached[0]}" if reached else "No final training is done yet")
        return claim, f"Dense training reaches {reached[0]}." if sparse and reached else ""
    if rows.empty:
        unknown = f"Whether {_CLAIM} is not yet known: too few pairs of a signed and a mask transfer are done"
        return head or unknown, " ".join(
            [*([f"{unknown}."] if head else []), *(f"Dense training reaches {each}." for each in reached)]
        )
    at = float(rows["density"].mean())
    with_signs, mask_alone = (_by_method(rows, column) for column in ("a_mean", "b_mean"))
    against = "".join(f"; dense training reaches {percent(row['mean'], DIGITS)}" for row in dense)
    so_far = "so far, at" if head else "at"
    return head or _judged(rows), begin(
        f"{so_far} density {density(at)} ({percent(100 * at, DIGITS)} of the prunable weights) a random initialisation "
        f"with the signed mask reaches {with_signs}, with the mask alone {mask_alone}{against}."
    )


def _accuracies(section: Section) -> str:
    """State the accuracy of each start at the sparsest density; empty if only dense networks were trained."""
    sparse = section.trainings[section.trainings["round"].notna()]
    sparse = spread(sparse[sparse["round"] == sparse["round"].max()], ["method", "transfer"], ACCURACY.column)
    rows = sparse.sort_values("mean", ascending=False).to_dict("records")
    if not rows:
        return ""
    each = [
        f"{percent(row['mean'], DIGITS)} ({method_name(row['method'])} {transfer_name(row['transfer'])}, "
        f"{sample(row['trainings'], row['chains'])})"
        for row in rows
    ]
    where = f"At density {density(float(sparse['density'].mean()))} test accuracy is"
    if len(each) > _MOST_STARTS:
        return f"{where} between {each[-1]} and {each[0]}, over {len(each)} starts"
    return f"{where} {', '.join(each)}"


def sureness(compared: pd.DataFrame, study: Study) -> str:
    """State how sure the verdict is: each method's difference with its interval, the looks, and the risk of an error.

    Args:
        compared: the section's ``comparisons``.
    """
    rows = _first(compared)
    rows = rows[rows["low"].notna()]
    gains = [
        f"{signed(row['difference'], DIGITS)} points under {method_name(row['method'])}, {_over(row)}"
        for row in rows.to_dict("records")
    ]
    sentences = [f"Signed minus mask transfers: {'; '.join(gains)}." if gains else "", study.plan()]
    if not study.preliminary:
        sentences.append("All that is called shown here has a 5 % risk, together, of one false claim or more.")
    return " ".join(each for each in sentences if each)


def _over(row: Mapping[Any, Any]) -> str:
    """Write the interval that decided, and its replicates; before a look, the 95 % interval."""
    over = f"n = {count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    if isnan(row["adjusted_low"]):
        return f"95 % interval {_interval(row['low'], row['high'])}, {over}"
    return f"adjusted interval {_interval(row['adjusted_low'], row['adjusted_high'])}, {over}"


def _first(compared: pd.DataFrame) -> pd.DataFrame:
    """Return the rows behind the verdict: signed against mask transfers, at the sparsest density."""
    rows = compared[(compared["question"] == SIGNS_CARRY.name) & (compared["pairs"] > 0)]
    return rows[rows["round"] == rows["round"].max()]


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
    points = f"{signed(row['difference'], DIGITS)} points"
    if isnan(row["low"]):
        return f"{points} from one pair, which gives no interval"
    interval = _interval(row["low"], row["high"])
    if not isnan(row["adjusted_low"]):
        interval += f", adjusted {_interval(row['adjusted_low'], row['adjusted_high'])}"
        if row["judged_chains"] != row["chains"]:
            interval += f" at {count(row['judged_chains'], 'chain')}"
    over = f"n = {count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    caveat = ", which says nothing about other tickets" if row["chains"] == 1 else ""
    if row["b_trainings"] == 1:
        caveat += ", all against one training, whose own spread the interval does not include"
    a, b = (mean_sd(row[f"{side}_mean"], row[f"{side}_sd"], DIGITS) for side in "ab")
    error = (
        "" if isnan(row["standard_error"]) else f", the probes' standard error {number(row['standard_error'], DIGITS)}"
    )
    return f"{points} {interval}, {over}{caveat} ({a} against {b} {row['unit']}{error}){_still_needed(row)}"


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
    differences = f"{question.measure.title} {ends} points"
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
            f"{negligible} of {compared}: {ends} points."
        )
    needed = list(rows["chains_needed"].dropna())
    chains = f" About {count(int(min(needed)), 'chain')} would show the clearest of them." if needed else ""
    reason = "every adjusted interval includes 0" if rows["adjusted_low"].notna().any() else "none has an interval"
    return f"Not shown that {question.claim}: {differences} in {compared}, and {reason}.{chains}"


def _judged(rows: pd.DataFrame) -> str:
    """State how far the first claim is shown, by method if methods differ."""
    first = {
        SHOWN: _CLAIM,
        NOT_SHOWN: f"it is not shown that {_CLAIM}",
        REVERSE: _CLAIM_REVERSED,
        NEGLIGIBLE: "the accuracy of signed and mask transfers differs by less than the study's margin",
    }
    then = {NOT_SHOWN: "this is not shown", REVERSE: "the reverse is shown", NEGLIGIBLE: "the difference is negligible"}
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


def _interval(low: float, high: float) -> str:
    return f"[{number(low, DIGITS)}, {number(high, DIGITS)}]"


def _exclude(n: int) -> str:
    return f"{n} {'excludes' if n == 1 else 'exclude'}"
