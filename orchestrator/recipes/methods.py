"""Pruning methods as data: what a chain trains, prunes by, goes back to, and where its learning rate begins again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Strict

from workers.pruning.criteria import CRITERIA
from workers.stages import Criterion, Pruning

Whole = Annotated[int, Strict()]
"""A number in a file; pydantic would take the text '1' and the word true for one as well."""


@dataclass(frozen=True)
class Method:
    """A way to find tickets; every combination of these fields is run by the same engine.

    Attributes:
        interpolate_psi: AWS's training, with psi interpolated towards its initialisation.
        criterion: what weights go by: a registered name.
        schedule: train round 0 and the rounds as the recipe's rounds, or by the epochs and schedule of its final
            training, as Renda et al. (2020) do. From the "end" of the schedule, rounds train ``round_epochs`` anyhow:
            docs/experiments.md, "Epochs of a round".
        prune_at, reset_to, schedule_from, one_shot, steps: as of ``workers.stages.Pruning``.
    """

    interpolate_psi: bool = False
    criterion: str = "magnitude"
    schedule: Literal["rounds", "final"] = "rounds"
    prune_at: Whole | None = None
    reset_to: Whole | None = None
    schedule_from: Literal["start", "reset", "end"] = "start"
    one_shot: bool = False
    steps: Whole = 1

    def __post_init__(self) -> None:
        if self.schedule_from == "reset" and self.reset_to is None:
            raise ValueError("schedule_from: reset goes with a reset_to, the epoch where the schedule begins again")
        if self.prune_at is not None and (self.reset_to is not None or self.schedule_from != "start"):
            raise ValueError(
                "prune_at leaves out the rounds' training, so that reset_to and schedule_from mean nothing"
            )
        if min(self.prune_at or 0, self.reset_to or 0) < 0 or self.steps < 1:
            raise ValueError("prune_at and reset_to are epochs from 0 on, and steps at least 1")

    def pruning(self, name: str) -> Pruning:
        """What its rounds are told.

        Args:
            name: the method's own.

        Raises:
            ValueError: no criterion of this name is registered.
        """
        if self.criterion not in CRITERIA:
            raise ValueError(f"unknown criterion {self.criterion!r}; known: {', '.join(sorted(CRITERIA))}")
        version = CRITERIA[self.criterion].criterion.version
        pruning = Pruning(
            criterion=Criterion(self.criterion, version),
            prune_at=self.prune_at,
            reset_to=self.reset_to,
            schedule_from=self.schedule_from,
            one_shot=self.one_shot,
            steps=self.steps,
        )
        # psi tells AWS and LRR apart, so their tickets need no name here
        return pruning if name in ("aws", "lrr") else replace(pruning, ticket_method=name)


METHODS: dict[str, Method] = {
    "aws": Method(interpolate_psi=True),
    "lrr": Method(),
    # round 0 to completion, as in Renda et al. (2020), sections 2 and 3; and so the rounds, but for fine-tuning's
    "lrr_rewound_schedule": Method(schedule="final"),
    "weight_rewinding": Method(schedule="final", reset_to=1, schedule_from="reset"),
    "fine_tuning": Method(schedule="final", schedule_from="end"),
    "imp": Method(schedule="final", reset_to=0),  # Frankle and Carbin (2019): to the initialisation
    "one_shot": Method(schedule="final", one_shot=True),
    # at initialisation, each density for itself
    "random_at_init": Method(criterion="random", prune_at=0, one_shot=True),
    "erk_at_init": Method(criterion="erk", prune_at=0, one_shot=True),
    "magnitude_at_init": Method(prune_at=0, one_shot=True),
    "snip": Method(criterion="snip", prune_at=0, one_shot=True),
    "synflow": Method(criterion="synflow", prune_at=0, one_shot=True, steps=100),
}
