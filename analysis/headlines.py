"""What the data say, in sentences; a difference is claimed only where its 95 % interval leaves out 0."""

from __future__ import annotations

from math import isnan

import pandas as pd

from analysis.sections import Section
from analysis.statistics import Difference, paired_difference, spread
from analysis.words import count, density, mean_sd, method, rank, sample, signed

ACCURACY = "test_accuracy_percent"
BARRIER = "barrier_points"


def dense(section: Section) -> list[str]:
    """The dense accuracy that everything is measured against; empty until it is known."""
    rows = section.trainings
    rows = rows[rows["transfer"] == "dense"]
    rows = rows[rows[ACCURACY].notna()]
    return [] if rows.empty else [f"Dense training reaches {_reached(rows, ACCURACY)}."]


def signs_carry(section: Section) -> list[str]:
    """For each density and method, sparsest first: signed against mask transfer of the same tickets and seeds."""
    sentences = []
    for rows in _cells(section.trainings, ["round", "method"], ACCURACY):
        signed_rows, mask_rows = (rows[rows["transfer"] == name] for name in ("signed", "mask"))
        if signed_rows.empty or mask_rows.empty:
            continue
        difference = paired_difference(signed_rows, mask_rows, ACCURACY)
        start = f"{method(rows['method'].iloc[0])} at density {density(rows['density'].mean())}"
        sentences.append(
            f"{start}: signed transfer reaches {_reached(signed_rows, ACCURACY)}, "
            f"mask transfer {_reached(mask_rows, ACCURACY)}: {_signs_verdict(difference)}"
        )
    return sentences


def barrier_by_method(section: Section) -> list[str]:
    """For each probed density, sparsest first: the signed transfer's barrier to the solution, AWS against LRR."""
    probes = section.barriers("lmc")
    sentences = []
    for rows in _cells(probes[probes["transfer"] == "signed"], ["round"], BARRIER):
        aws, lrr = (rows[rows["method"] == name] for name in ("aws", "lrr"))
        if aws.empty or lrr.empty:
            continue
        sentences.append(
            f"At density {density(rows['density'].mean())} the barrier of a signed transfer to the solution is "
            f"{_reached(aws, BARRIER)} for AWS and {_reached(lrr, BARRIER)} for LRR: "
            f"{_barrier_verdict(paired_difference(aws, lrr, BARRIER))}"
        )
    return sentences


def _cells(rows: pd.DataFrame, by: list[str], value: str) -> list[pd.DataFrame]:
    """Groups with a value and a round, sparsest first and methods in their fixed order."""
    groups = [group for _, group in rows[rows[value].notna()].groupby(by)]
    return sorted(groups, key=lambda group: (-group["round"].iloc[0], rank(str(group["method"].iloc[0]))))


def _reached(rows: pd.DataFrame, value: str) -> str:
    [row] = spread(rows, ["kind"], value).to_dict("records")
    unit, noun = ("%", "training") if value == ACCURACY else ("points", "probe")
    return f"{mean_sd(row['mean'], row['sd'])} {unit} ({sample(row['trainings'], row['chains'], noun)})"


def _signs_verdict(difference: Difference | None) -> str:
    if difference is None:
        return "no pair of the same chain and seed to compare yet."
    if not difference.shown:
        return f"that signs carry accuracy is not shown: {_interval(difference)}"
    verb = "carry" if difference.mean > 0 else "cost"
    return f"signs {verb} {_interval(difference)}"


def _barrier_verdict(difference: Difference | None) -> str:
    if difference is None:
        return "no pair of the same chain and seed to compare yet."
    if not difference.shown:
        return f"a difference is not shown: AWS − LRR {_interval(difference)}"
    return f"{'lower' if difference.mean < 0 else 'higher'} for AWS: AWS − LRR {_interval(difference)}"


def _interval(difference: Difference) -> str:
    """The difference, its interval, and what the interval is over."""
    points = f"{signed(difference.mean)} points"
    if isnan(difference.low):
        return f"{points} from one pair, which gives no interval."
    bounds = f"95 % interval {signed(difference.low)} to {signed(difference.high)}"
    pairs = count(difference.pairs, "pair")
    if difference.chains > 1:
        return f"{points} ({bounds} over {count(difference.chains, 'chain')}, {pairs})."
    return f"{points} ({bounds} over {pairs} of one chain, which cannot tell about other tickets)."
