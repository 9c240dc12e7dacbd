"""The study behind a section: its looks, how far it is, and the level at which each comparison is judged.

5 % is the probability that prose states any effect where there is none, over all looks and all comparisons of a
section. Primary questions share 80 % of it, the other comparisons the rest (weighted Bonferroni, so that each decision
can be read off its own interval). The planned looks spend 80 % of a comparison's part, rising with the square of the
chains (Kim and DeMets 1987); each look that extends the study spends half of what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import pandas as pd

from analysis.comparisons.boundaries import nominal_levels
from analysis.comparisons.labels import count
from analysis.comparisons.statistics import LEVEL
from analysis.frames.looks import FEWEST_CHAINS
from analysis.frames.sections import Section

PRIMARY = ("accuracy_of_signed_minus_mask",)
"""The primary questions of a study that declares none: what the report's first sentence is about."""
PRIMARY_SHARE, PLANNED_SHARE = 0.8, 0.8
SPENDING_POWER = 2


@dataclass(frozen=True)
class Look:
    """One judgement of the results: of the chains and seeds up to these numbers.

    Attributes:
        spent: share of the 5 % that is spent up to and including this look.
        planned: whether the study planned it; else it extends the study.
        done: whether every stage that it needs is done.
    """

    chains: int
    seeds: int
    spent: float
    planned: bool
    done: bool

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the pairs that it judges."""
        return rows[(rows["chain"].to_numpy() <= self.chains) & (rows["seed"].to_numpy() <= self.seeds)]


@dataclass(frozen=True)
class Study:
    """The study behind a section.

    Attributes:
        looks: in their order; a look at fewer than two chains judges nothing and is left out.
        primary: names of its primary questions.
        margin_points: differences in points below it in absolute value are negligible; NaN judges none so.
        declared, redeclared: see ``analysis.frames.looks``.
        chains_done: chains of which every planned stage is done.
        chains, done, planned: planned chains; stages that are done and planned.
    """

    looks: tuple[Look, ...]
    primary: tuple[str, ...]
    margin_points: float
    declared: bool
    redeclared: bool
    chains_done: int
    chains: int
    done: int
    planned: int

    @property
    def looks_done(self) -> tuple[Look, ...]:
        """The looks that were taken: none is skipped."""
        taken = next((place for place, look in enumerate(self.looks) if not look.done), len(self.looks))
        return self.looks[:taken]

    @property
    def preliminary(self) -> bool:
        """Whether nothing may be called shown yet."""
        return not self.looks_done

    def levels(self, share: float) -> tuple[float, ...]:
        """Return the two-sided level of the t test at each look, for a comparison's share of the 5 %."""
        spent = tuple(LEVEL * share * look.spent for look in self.looks)
        return nominal_levels(tuple(look.chains for look in self.looks), spent)

    def level_left(self, share: float) -> float:
        """Return the two-sided level of the t test that may still decide: at the last look, or at one that extends it.

        What an extension may spend is a lower bound of its level, close to it unless it adds few chains.
        """
        if len(self.looks_done) < len(self.looks):
            return self.levels(share)[-1]
        spent = self.looks[-1].spent if self.looks else 0.0
        return LEVEL * share * (_extended(spent) - spent)

    def progress(self) -> str:
        """Say how far the study is: 1 of 3 chains, 120 of 375 stages."""
        return f"{self.chains_done} of {count(self.chains, 'chain')}, {self.done} of {count(self.planned, 'stage')}"

    def plan(self) -> str:
        """Say when the results are judged, and which looks were not planned."""
        planned = [look for look in self.looks if look.planned]
        extensions = [look for look in self.looks if not look.planned]
        if not self.looks:
            return "Results of one chain are not judged: one chain says nothing about other tickets."
        sentences = [
            f"Judged at {_numbers([look.chains for look in planned])} chains, as "
            f"{'declared' if self.declared else 'planned at the start'}."
            if planned
            else ""
        ]
        sentences += [
            f"Extended after that to {count(look.chains, 'chain')} and {count(look.seeds, 'seed')}: a look that was "
            f"not planned, for which little of the 5 % is left."
            for look in extensions
        ]
        if self.redeclared:
            sentences.append("The study was declared anew later; the first declaration counts.")
        return " ".join(sentence for sentence in sentences if sentence)


def study_of(section: Section) -> Study:
    """Return the study behind a section; without a stored plan, all that is done counts as planned."""
    stages, looks = section.frames.stages, section.frames.looks
    missing = section.frames.missing
    missing = missing[missing["kind"] != "landscape"]  # which compares nothing, and may be added to a finished study
    rows, own = looks.to_dict("records"), _of_own_chains(stages)
    if not rows:
        most = {name: int(own[name].max()) if own[name].notna().any() else 0 for name in ("chain", "seed")}
        rows = [{"chains": most["chain"], "seeds": most["seed"], "planned": True}]
    judged = [row for row in rows if row["chains"] >= FEWEST_CHAINS]
    spent = spending([row["chains"] for row in judged], sum(bool(row["planned"]) for row in judged))
    chains = max([int(row["chains"]) for row in rows if not judged or row["planned"]] or [rows[-1]["chains"]])
    first = rows[0]
    return Study(
        looks=tuple(
            Look(row["chains"], row["seeds"], share, bool(row["planned"]), _done(own, missing, row))
            for row, share in zip(judged, spent, strict=True)
        ),
        primary=tuple(str(first.get("primary") or "").split(",")) if first.get("primary") else PRIMARY,
        margin_points=float(first.get("margin_points", nan)),
        declared=bool(first.get("declared", False)),
        redeclared=bool(first.get("redeclared", False)),
        chains_done=_chains_done(own, missing),
        chains=max(chains, int(own["chain"].max()) if own["chain"].notna().any() else 0),
        done=len(stages),
        planned=len(stages) + len(section.frames.missing),
    )


def _of_own_chains(stages: pd.DataFrame) -> pd.DataFrame:
    """Leave out the chains of tickets from elsewhere, whose numbers are their own, unless there are no others."""
    own = stages[~stages["method"].str.contains("@", regex=False, na=False)]
    return own if own["chain"].notna().any() else stages


def shares(n: int, primary: Collection[int]) -> list[float]:
    """Return the share of the 5 % of each of n comparisons.

    Args:
        primary: places of the primary comparisons.
    """
    of_primary = len(primary)
    if of_primary in (0, n):
        return [1 / n] * n if n else []
    return [
        PRIMARY_SHARE / of_primary if place in primary else (1 - PRIMARY_SHARE) / (n - of_primary) for place in range(n)
    ]


def spending(chains: Sequence[int], planned: int) -> list[float]:
    """Return the share of the 5 % that is spent up to each look; the planned looks come first."""
    spent = [PLANNED_SHARE * (n / chains[planned - 1]) ** SPENDING_POWER for n in chains[:planned]]
    for _ in chains[planned:]:
        spent.append(_extended(spent[-1]))
    return spent


def _extended(spent: float) -> float:
    return spent + (1 - spent) / 2


def _done(stages: pd.DataFrame, missing: pd.DataFrame, look: Mapping[Any, Any]) -> bool:
    """Whether every planned stage of the look's chains and seeds is done, and its last chain is there."""
    needed = ~((missing["chain"] > look["chains"]).fillna(False) | (missing["seed"] > look["seeds"]).fillna(False))
    return not needed.any() and bool((stages["chain"] >= look["chains"]).any())


def _chains_done(stages: pd.DataFrame, missing: pd.DataFrame) -> int:
    return len(set(stages["chain"].dropna()) - set(missing["chain"].dropna()))


def _numbers(values: Sequence[int]) -> str:
    """Write 3; 3 and 6; 3, 6 and 12."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last
