"""Types of a recipe's fields whose values have rules of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from workers.stages import Optimizer, Rules, Schedule
from workers.training.rules.completion import completed_rules
from workers.training.rules.optimizers import completed_optimizer


def _rates_are_rates(value: Optimizer) -> Optimizer:
    if value.learning_rate <= 0:
        raise ValueError("learning_rate must be positive")
    if not 0 <= value.momentum < 1:
        raise ValueError(f"momentum is at least 0 and below 1, not {value.momentum:g}")
    if value.weight_decay < 0:
        raise ValueError(f"weight_decay is at least 0, not {value.weight_decay:g}")
    return completed_optimizer(value)


def _can_run(value: Schedule) -> Schedule:
    if value.factor < 0:
        raise ValueError(f"factor is at least 0, not {value.factor:g}")
    if beyond := [epoch for epoch in value.milestones if epoch < 0]:
        raise ValueError(f"milestones are epochs, counted from 0, not {beyond[0]}")
    return value


def _one_gpu_or_a_share(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:
        raise ValueError(f"a trial uses one GPU or a share of it, such as 0.25, not {value:g}")
    return value


PossibleOptimizer = Annotated[Optimizer, AfterValidator(_rates_are_rates)]
PossibleSchedule = Annotated[Schedule, AfterValidator(_can_run)]
PossibleRules = Annotated[Rules, AfterValidator(completed_rules)]
GpuShare = Annotated[float | None, AfterValidator(_one_gpu_or_a_share)]
