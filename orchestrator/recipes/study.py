"""What a study asks, and when it judges the answer: declared in a recipe, before the first result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from orchestrator.recipes.limits import Chains, Once
from orchestrator.store.plans import PROBE_MEASURES, parse_question

FEWEST_LOOK = 2
DENSE_SAME_BUDGET = "dense_same_budget"
"""The start of dense networks that are trained for the epochs of the longest chain and a final training together."""
_PROBED = "give probe_rounds, and name transfers on both sides, since the retrain is the other end of each pair"
_REMEDIES = {
    "accuracy": "give transfer_rounds",
    "barrier": _PROBED,
    "chord": _PROBED,
    "stability": "give probe_rounds, and name the start in twins",
    "sign_flips": "give transfer_rounds, and name the retrain or transfers",
    **{name: f"name {name} in probes, {_PROBED}" for name in PROBE_MEASURES},
}


@dataclass(frozen=True)
class Study:
    """A study's declaration. It is part of no stage's key.

    Attributes:
        primary: names of the primary questions, as MEASURE_of_A_minus_B; A and B are starts, with a method in front or
            without one. They share 80 % of the probability of a false claim. Empty takes signs against masks.
        looks: numbers of chains at which the results are judged, rising. Empty takes the number of chains.
        max_chains: most chains of ``--until-shown``; without ``looks``, each chain from the recipe's number is a look.
        margin_points: a difference whose interval lies within it is called negligible. None calls none so.
    """

    primary: Annotated[tuple[str, ...], Once] = ()
    looks: Annotated[tuple[Chains, ...], Once] = ()
    max_chains: Chains | None = None
    margin_points: Annotated[float, Field(gt=0, le=100)] | None = None

    @property
    def declared(self) -> bool:
        """Whether anything is declared."""
        return self != Study()

    def looks_from(self, chains: int) -> list[int]:
        """The numbers of chains at which the results are judged; empty if only the plan's own number is."""
        if self.looks or self.max_chains is None:
            return list(self.looks)
        return list(range(max(FEWEST_LOOK, min(chains, self.max_chains)), self.max_chains + 1))

    def check(self, chains: int, seeds: int, methods: Collection[str], measured: Mapping[str, Collection[str]]) -> None:
        """Raise ValueError if the declaration does not suit a recipe.

        Args:
            methods: names of the sweep's methods.
            measured: names of the starts that the sweep measures, by the measure of a question; none of a measure that
                is missing.
        """
        starts = {start for of_measure in measured.values() for start in of_measure}
        if list(self.looks) != sorted(self.looks) or (self.looks and self.looks[0] < FEWEST_LOOK):
            raise ValueError(
                f"study.looks: give rising numbers of chains, of at least {FEWEST_LOOK}, such as [3, 6, 12]"
            )
        if self.looks and self.max_chains not in (None, self.looks[-1]):
            raise ValueError(
                f"study.max_chains is {self.max_chains}, and the last look is at {self.looks[-1]} chains; leave "
                f"max_chains out"
            )
        if self.max_chains is not None and self.max_chains < FEWEST_LOOK:
            raise ValueError(
                f"study.max_chains {self.max_chains}: one chain is never judged, because it says nothing about other "
                f"tickets; give at least {FEWEST_LOOK}"
            )
        most = self.looks[-1] if self.looks else self.max_chains
        if most is not None and chains > most:
            raise ValueError(f"chains {chains}: the study is judged at no more than {most} chains; give at most {most}")
        for name in self.primary:
            try:
                measure, sides = parse_question(name, methods, starts)
            except ValueError as reason:
                raise ValueError(f"study.primary: {reason}") from None
            lacking = [start for _, start in sides if start not in measured.get(measure, ())]
            if lacking:
                raise ValueError(
                    f"study.primary: {name} could never be answered, because this sweep measures no {measure} of "
                    f"{lacking[0]}; {_REMEDIES[measure]}"
                )
            if sides[0][1] == DENSE_SAME_BUDGET or (sides[1][1] == DENSE_SAME_BUDGET and sides[1][0]):
                raise ValueError(
                    f"study.primary: {name}: dense networks belong to no method and no density; name "
                    f"{DENSE_SAME_BUDGET} second, without a method"
                )
            if sides[1][1] == DENSE_SAME_BUDGET and seeds == 1:
                raise ValueError(
                    f"study.primary: {name}: one dense training has no spread, so nothing could be shown; give seeds: 2"
                )
