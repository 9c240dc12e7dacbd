"""What the data say, in sentences; a difference is claimed only where its 95 % interval leaves out 0."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any

import pandas as pd

from analysis.sections import Section
from analysis.statistics import Difference, difference, pairs, spread
from analysis.words import count, density, mean_sd, method, rank, sample, signed

ACCURACY = "test_accuracy_percent"
BARRIER = "barrier_points"


def lead(section: Section) -> list[str]:
    """The questions of the method in one sentence each, counting every comparison that is made below."""
    trainings = section.trainings
    signed_rows, mask_rows = (trainings[trainings["transfer"] == name] for name in ("signed", "mask"))
    signs = _differences(signed_rows, mask_rows, ACCURACY, ["round", "method"]).values()
    barriers = _differences(*_signed_barriers(section), BARRIER, ["round"]).values()
    accuracies = _differences(*_signed_accuracies(section), ACCURACY, ["round"]).values()
    found = []
    if signs:
        better = [each for each in signs if each.shown and each.mean > 0]
        gain = f", worth {_range([each.mean for each in better])} points of accuracy" if better else ""
        worse, _ = _both_ways(signs)
        found.append(_claim("Signs carry what masks do not", len(better), worse, len(signs), gain))
    if barriers:
        lower, higher = _both_ways(barriers)
        found.append(
            _claim("AWS's signed masks meet a lower barrier to the solution than LRR's", lower, higher, len(barriers))
        )
    if accuracies:
        lower, higher = _both_ways(accuracies)
        found.append(_claim("AWS's signed masks reach a higher accuracy than LRR's", higher, lower, len(accuracies)))
    return found


def dense(section: Section) -> list[str]:
    """The dense accuracy that everything is measured against; empty until it is known."""
    rows = section.trainings
    found = _cells(rows[rows["transfer"] == "dense"], ["transfer"], ACCURACY)
    return [f"Dense training reaches {_accuracy(row)}." for row in found.values()]


def signs_carry(section: Section) -> list[str]:
    """For each density and method, sparsest first: signed against mask transfer of the same tickets and seeds."""
    rows = section.trainings
    signed_rows, mask_rows = (rows[rows["transfer"] == name] for name in ("signed", "mask"))
    by = ["round", "method"]
    signed_cells, mask_cells = (_cells(each, by, ACCURACY) for each in (signed_rows, mask_rows))
    differences = _differences(signed_rows, mask_rows, ACCURACY, by)
    return [
        f"{method(cell[1])} at density {density(signed_cells[cell]['density'])}: signed transfer reaches "
        f"{_accuracy(signed_cells[cell])}, mask transfer {_accuracy(mask_cells[cell])}: "
        f"{_signs_verdict(differences.get(cell))}"
        for cell in sorted(signed_cells.keys() & mask_cells.keys(), key=lambda cell: (-cell[0], rank(cell[1])))
    ]


def barrier_by_method(section: Section) -> list[str]:
    """For each probed density, sparsest first: the signed transfer's barrier to the solution, AWS against LRR."""
    aws, lrr = _signed_barriers(section)
    aws_cells, lrr_cells = (_cells(each, ["round"], BARRIER) for each in (aws, lrr))
    differences = _differences(aws, lrr, BARRIER, ["round"])
    return [
        f"At density {density(aws_cells[cell]['density'])} the barrier of a signed transfer to the solution is "
        f"{_points(aws_cells[cell])} for AWS and {_points(lrr_cells[cell])} for LRR: "
        f"{_method_verdict(differences.get(cell))}"
        for cell in sorted(aws_cells.keys() & lrr_cells.keys(), reverse=True)
    ]


def accuracy_by_method(section: Section) -> list[str]:
    """For each density, sparsest first: the signed transfer's accuracy, AWS against LRR."""
    aws, lrr = _signed_accuracies(section)
    aws_cells, lrr_cells = (_cells(each, ["round"], ACCURACY) for each in (aws, lrr))
    differences = _differences(aws, lrr, ACCURACY, ["round"])
    return [
        f"At density {density(aws_cells[cell]['density'])} the signed transfer reaches "
        f"{_accuracy(aws_cells[cell])} for AWS and {_accuracy(lrr_cells[cell])} for LRR: "
        f"{_method_verdict(differences.get(cell))}"
        for cell in sorted(aws_cells.keys() & lrr_cells.keys(), reverse=True)
    ]


def _signed_accuracies(section: Section) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The signed transfers' trainings under AWS and under LRR."""
    rows = section.trainings
    rows = rows[rows["transfer"] == "signed"]
    return rows[rows["method"] == "aws"], rows[rows["method"] == "lrr"]


def _both_ways(differences: Iterable[Difference]) -> tuple[int, int]:
    """How many differences are shown to be below zero, and how many above."""
    shown = [each.mean for each in differences if each.shown]
    return sum(mean < 0 for mean in shown), sum(mean > 0 for mean in shown)


def _signed_barriers(section: Section) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The signed transfers' barriers to the solution under AWS and under LRR."""
    rows = section.barriers("lmc")
    rows = rows[rows["transfer"] == "signed"]
    return rows[rows["method"] == "aws"], rows[rows["method"] == "lrr"]


def _claim(text: str, shown: int, reverse: int, comparisons: int, detail: str = "") -> str:
    """A claim with how often it is shown; one that is shown neither way is said to be open."""
    made = count(comparisons, "comparison")
    if not shown and not reverse:
        return f"Not shown either way: {text[0].lower() if text.startswith('Signs') else text[0]}{text[1:]} ({made})."
    against = f", the reverse in {reverse}" if reverse else ""
    return f"{text}: shown in {shown} of {made}{detail}{against}."


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


Cell = tuple[Any, ...]


def _cells(rows: pd.DataFrame, by: list[str], value: str) -> dict[Cell, dict[str, Any]]:
    """The spread of each group, by the group's labels."""
    summary = spread(rows[rows[by].notna().all(axis=1)], by, value).to_dict("records")
    named = [{str(column): entry for column, entry in row.items()} for row in summary]
    return {tuple(row[name] for name in by): row for row in named}


def _differences(a: pd.DataFrame, b: pd.DataFrame, value: str, by: list[str]) -> dict[Cell, Difference]:
    groups = pairs(a, b, value, by).groupby(by)
    return {tuple(rows.iloc[0][by]): difference(rows) for _, rows in groups}


def _accuracy(row: dict[str, Any]) -> str:
    return f"{mean_sd(row['mean'], row['sd'])} % ({sample(row['trainings'], row['chains'])})"


def _points(row: dict[str, Any]) -> str:
    return f"{mean_sd(row['mean'], row['sd'])} points ({sample(row['trainings'], row['chains'], 'probe')})"


def _signs_verdict(found: Difference | None) -> str:
    if found is None:
        return "no pair of the same chain and seed to compare yet."
    if not found.shown:
        return f"that signs carry accuracy is not shown: {_interval(found)}"
    return f"signs {'carry' if found.mean > 0 else 'cost'} {_interval(found)}"


def _method_verdict(found: Difference | None) -> str:
    if found is None:
        return "no pair of the same chain and seed to compare yet."
    if not found.shown:
        return f"not distinguishable, a difference is not shown: AWS minus LRR {_interval(found)}"
    return f"{'lower' if found.mean < 0 else 'higher'} for AWS: AWS minus LRR {_interval(found)}"


def _interval(found: Difference) -> str:
    """The difference, its interval, and what the interval is over."""
    points = f"{signed(found.mean)} points"
    if isnan(found.low):
        return f"{points} from one pair, which gives no interval."
    bounds = f"95 % interval {signed(found.low)} to {signed(found.high)}"
    over = count(found.pairs, "pair")
    if found.chains > 1:
        return f"{points} ({bounds} over {count(found.chains, 'chain')}, {over})."
    return f"{points} ({bounds} over {over} of one chain, which cannot tell about other tickets)."
