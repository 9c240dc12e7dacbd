"""Pruning methods as data: criterion, rewinding, learning-rate schedule, and the training of psi."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.recipes.limits import Steps
from orchestrator.recipes.values import PossibleRules
from tickets.registry import unknown
from workers.pruning.criteria import CRITERIA
from workers.stages import NO_RULES, Criterion, MaskRule, Pruning, Rules

AVERAGED = "averages its batch-norm statistics over all alphas"


@dataclass(frozen=True)
class Method:
    """A pruning method: how a chain finds tickets. Every combination of fields runs.

    Attributes:
        interpolate_psi: train as AWS does, with psi interpolated towards its initialisation.
        criterion: registered name of the pruning criterion (``workers.pruning.criteria``).
        schedule: epochs and learning rates of round 0 and the rounds: the recipe's for rounds ("rounds"), or those of
            its final training ("final"), as Renda et al. (2020) do. With ``schedule_from: end``, rounds always train
            ``round_epochs``: docs/experiments.md, "Epochs of a round".
        prune_at, reset_to, schedule_from, one_shot, steps: see ``workers.stages.Pruning``.
        sparse_training: train each round's network after its pruning at ``prune_at``: its epochs and learning rates are
            those of ``schedule``.
        training: what happens in round 0 and the rounds, in place of what the recipe's ``round_training`` says of it.
    """

    interpolate_psi: bool = False
    criterion: str = "magnitude"
    schedule: Literal["rounds", "final"] = "rounds"
    prune_at: int | None = None
    reset_to: int | None = None
    schedule_from: Literal["start", "reset", "end"] = "start"
    one_shot: bool = False
    steps: Steps = 1
    sparse_training: bool = False
    training: PossibleRules = NO_RULES

    def __post_init__(self) -> None:
        if self.schedule_from == "reset" and self.reset_to is None:
            raise ValueError("schedule_from: reset needs a reset_to, the epoch at which the schedule begins again")
        if self.prune_at is not None and (self.reset_to is not None or self.schedule_from != "start"):
            raise ValueError("prune_at skips the rounds' training; leave out reset_to and schedule_from")
        if self.sparse_training and (self.prune_at is None or not self.one_shot):
            raise ValueError(
                "sparse_training trains what is pruned at once; give prune_at, such as 0, and one_shot: true"
            )
        if min(self.prune_at or 0, self.reset_to or 0) < 0 or self.steps < 1:
            raise ValueError("prune_at and reset_to must be at least 0, and steps at least 1")

    def why_not(self, measure: Literal["test_rounds", "probe_successive_rounds"]) -> str:
        """Why a measurement of the networks at the ends of rounds has no meaning; empty if it has one."""
        if self.prune_at is not None and not self.sparse_training:
            return "does not train its rounds"
        if measure == "test_rounds" and self.interpolate_psi:
            return AVERAGED
        if measure == "probe_successive_rounds" and self.one_shot:
            return "prunes round 0 in every round, so that no round succeeds another"
        return ""

    def pruning(self, name: str) -> Pruning:
        """The pruning of a round under the method's name; ValueError if the criterion is not registered."""
        if self.criterion not in CRITERIA:
            raise ValueError(unknown("criterion", self.criterion, CRITERIA, plugins=True))
        return Pruning(
            "" if name in ("aws", "lrr") else name,  # psi tells AWS and LRR apart, so their tickets need no name here
            Criterion(self.criterion, CRITERIA[self.criterion].version),
            self.prune_at,
            self.reset_to,
            self.schedule_from,
            self.one_shot,
            self.steps,
        )


SPARSE = Method(schedule="final", prune_at=0, one_shot=True, sparse_training=True)
"""Sparse training from a mask that is drawn at initialisation."""

METHODS: dict[str, Method] = {
    "aws": Method(interpolate_psi=True),
    "lrr": Method(),
    # round 0 and the rounds train to completion, except fine-tuning's rounds: Renda et al. (2020), sections 2 and 3
    "lrr_rewound_schedule": Method(schedule="final"),
    "weight_rewinding": Method(schedule="final", reset_to=1, schedule_from="reset"),
    "fine_tuning": Method(schedule="final", schedule_from="end"),
    "imp": Method(schedule="final", reset_to=0),  # Frankle and Carbin (2019): rewind to the initialisation
    "one_shot": Method(schedule="final", one_shot=True),
    # pruning at initialisation, in one step to each density
    "random_at_init": Method(criterion="random", prune_at=0, one_shot=True),
    "erk_at_init": Method(criterion="erk", prune_at=0, one_shot=True),
    "magnitude_at_init": Method(prune_at=0, one_shot=True),
    "snip": Method(criterion="snip", prune_at=0, one_shot=True),
    "synflow": Method(criterion="synflow", prune_at=0, one_shot=True, steps=100),
    # sparse training from a random mask: Mocanu et al. (2018), and Evci et al. (2020)
    "set": replace(SPARSE, criterion="er", training=Rules(mask_rule=MaskRule("set"))),
    "rigl": replace(SPARSE, criterion="erk", training=Rules(mask_rule=MaskRule("rigl", every_steps=100, until=0.75))),
}
