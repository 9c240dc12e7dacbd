"""Measures of a network after its final training, and all their means as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.comparisons.labels import count, density, mean_sd, method_name, rank, transfer_name
from analysis.comparisons.statistics import spread
from analysis.frames.sections import Section

Unit = Literal["%", "points", "log2 nats"]
DifferenceUnit = Literal["points", "doublings"]


@dataclass(frozen=True)
class Measure:
    """A number of every training, or of every probe.

    Attributes:
        name: prefix of the measure's columns in ``numbers``.
        column: of the frame ``stages``.
        title: as it reads within a sentence.
        unit: of a value. In "log2 nats" it is the logarithm of a number of nats, to base 2.
        probe: kind of the pairs whose probes measure it; None: final trainings do.
        pair_probe: the probe that measures it; None: the barrier does.
        error: column with the standard error of each value's measurement, if known.
        within: the values that are possible.
    """

    name: str
    column: str
    title: str
    unit: Unit
    probe: Literal["lmc", "stability"] | None = None
    pair_probe: str | None = None
    error: str | None = None
    within: tuple[float, float] = (0.0, 100.0)

    @property
    def heading(self) -> str:
        """The head of its column in a table."""
        return f"{self.title} ({self.unit})"

    @property
    def difference_unit(self) -> DifferenceUnit:
        """The unit of a difference of two values."""
        return "doublings" if self.unit == "log2 nats" else "points"

    def rows(self, section: Section) -> pd.DataFrame:
        """Return the section's stages that may have the measure, one row each, with ``column`` in its unit.

        A number that has no logarithm, 0 or less, is missing.
        """
        stages = section.probed(self.probe, self.pair_probe) if self.probe else section.trainings
        lacking = [name for name in (self.column, self.error) if name and name not in stages]
        stages = stages.assign(**dict.fromkeys(lacking, pd.Series(dtype="float64")))
        if self.unit != "log2 nats":
            return stages
        values = stages[self.column]
        return stages.assign(**{self.column: np.log2(values.where(values > 0))})


def _after_matching(name: str, title: str) -> Measure:
    """The barrier to the solution that a probe measures after it permuted one of the networks."""
    return Measure(name, f"{name}_points", title, "points", "lmc", name, f"{name}_standard_error_points")


ACCURACY = Measure("accuracy", "test_accuracy_percent", "test accuracy", "%")
_BARRIER = ("barrier_points", "barrier_standard_error_points")
BARRIER = Measure("barrier", _BARRIER[0], "barrier to the solution", "points", "lmc", error=_BARRIER[1])
CHORD = Measure("chord", "barrier_above_chord_points", "barrier above the chord", "points", "lmc")
STABILITY = Measure("stability", _BARRIER[0], "barrier between SGD seeds", "points", "stability", error=_BARRIER[1])
SIGN_FLIPS = Measure("sign_flips", "sign_flips_percent", "share of signs flipped", "%")
WEIGHT_MATCHED = _after_matching("aligned_barrier", "barrier after weight matching")
ACTIVATION_MATCHED = _after_matching("activation_aligned_barrier", "barrier after activation matching")
REPAIRED = _after_matching("repaired_barrier", "barrier after weight matching and REPAIR")
CURVATURE = Measure(
    "curvature",
    "curvature_a_top_eigenvalue",
    "largest Hessian eigenvalue",
    "log2 nats",
    "lmc",
    "curvature",
    within=(-inf, inf),
)
ALWAYS = (ACCURACY, BARRIER, CHORD, STABILITY)
"""Measures of every study, with columns of their own in every table."""
MEASURES = (*ALWAYS, SIGN_FLIPS, WEIGHT_MATCHED, ACTIVATION_MATCHED, REPAIRED, CURVATURE)
SUMMARY = ("mean", "sd", "low", "high", "trainings", "chains", "keys")


def numbers(section: Section) -> pd.DataFrame:
    """Return one row per round, method and transfer: dense on top, then the sparsest first.

    Returns:
        ``round``, ``method``, ``transfer``, ``density``, and for each of accuracy (percent), barrier, chord, stability
        (points), and every further measure that the section has, ``{measure}_mean``, ``_sd``, ``_low``, ``_high``,
        ``_trainings``, ``_chains``, ``_keys``: see ``spread``.
    """
    by = ["round", "method", "transfer"]
    table = pd.DataFrame({"round": pd.Series(dtype="Int64"), "method": "", "transfer": "", "density": 0.0})
    for measure in MEASURES:
        rows = measure.rows(section)
        if measure not in ALWAYS and rows[measure.column].isna().all():
            continue
        cells = spread(rows, by, measure.column, within=measure.within)[[*by, "density", *SUMMARY]].rename(
            columns={name: f"{measure.name}_{name}" for name in SUMMARY}
        )
        table = table.merge(cells, on=by, how="outer", suffixes=("", "_more"))
        table["density"] = table["density"].fillna(table.pop("density_more"))
    table = table.sort_values(["method", "transfer"], key=lambda names: names.fillna("").map(rank), kind="stable")
    return table.sort_values("round", ascending=False, na_position="first", kind="stable", ignore_index=True)


def tabulated(columns: Container[Hashable]) -> list[Measure]:
    """Return the measures that ``numbers`` has columns of, in their order.

    Args:
        columns: of ``numbers``.
    """
    return [measure for measure in MEASURES if f"{measure.name}_mean" in columns]


def of_tickets(section: Section, starts: Sequence[str]) -> pd.DataFrame:
    """Return one row per ticket that the section's chains found by pruning, with its accuracies from some starts.

    Returns:
        ``key``, ``name``, ``method``, ``chain``, ``round``, ``density``, and for each start, in percent,
        ``{start}_accuracy_percent`` (the mean over the seeds of this ticket's final trainings),
        ``{start}_mean_percent``, ``_low_percent`` and ``_high_percent`` (over the ``{start}_chains`` of its method and
        round: see ``spread``; no interval with one chain). NaN where nothing was measured.
    """
    stages = section.frames.stages
    rounds = stages[stages["kind"] == "round"]
    table = rounds[["key", "name", "method", "chain", "round", "density"]]
    for start in starts:
        rows = section.trainings[section.trainings["transfer"] == start]
        by = ["method", "round", "chain"]
        own = rows.groupby(by)[ACCURACY.column].mean().rename(f"{start}_accuracy_percent").reset_index()
        over = spread(rows, by[:2], ACCURACY.column, within=ACCURACY.within)
        over = over.astype({"chains": "Int64"})
        over[["low", "high"]] = over[["low", "high"]].where(over["chains"] > 1)
        names = {name: f"{start}_{name}_percent" for name in ("mean", "low", "high")} | {"chains": f"{start}_chains"}
        table = table.merge(own, on=by, how="left")
        table = table.merge(over[[*by[:2], *names]].rename(columns=names), on=by[:2], how="left")
    return table


def usual_replicates(rows: Iterable[Mapping[Any, Any]]) -> str:
    """Return the replicates of most values in rows of ``numbers``: "9 in 3 chains"; empty without values."""
    every = Counter(_replicates(row, measure.name) for row in rows for measure in tabulated(row))
    del every[""]
    return max(every, key=every.__getitem__, default="")


def as_text(row: Mapping[Any, Any], usual: str = "") -> dict[str, str]:
    """Write a row of ``numbers``: density, method, transfer, and each measure that it has by its name.

    Args:
        usual: replicates that are left out, because the table's caption names them.
    """
    return {
        "density": density(row["density"]),
        "method": method_name(row["method"]) if isinstance(row["method"], str) else "",
        "transfer": transfer_name(row["transfer"]),
        **{measure.name: _measured(row, measure.name, usual) for measure in tabulated(row)},
    }


def _measured(row: Mapping[Any, Any], measure: str, usual: str) -> str:
    """Write a measure of a row of ``numbers``: mean ± standard deviation (n, chains); empty if unknown."""
    replicates = _replicates(row, measure)
    if not replicates:
        return ""
    written = mean_sd(row[f"{measure}_mean"], row[f"{measure}_sd"])
    return written if replicates == usual else f"{written} ({replicates})"


def _replicates(row: Mapping[Any, Any], measure: str) -> str:
    if pd.isna(row[f"{measure}_mean"]):
        return ""
    n, chains = int(row[f"{measure}_trainings"]), int(row[f"{measure}_chains"])
    return f"{n} in {count(chains, 'chain')}" if chains else str(n)
