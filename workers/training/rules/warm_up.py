"""Warm-up of the learning rate: registered factors of the scheduled rate, by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import Field

from tickets.registry import Registry
from workers.stages import Rule
from workers.training.rules.registry import WithOptions, function_of

WARM_UPS = Registry("warm-up", WithOptions)
Factor = Callable[[int, int], float]
F = TypeVar("F", bound=Callable[..., float])


def warm_up(name: str, *, version: int = 1) -> Callable[[F], F]:
    """Register a function of (step, epoch_steps, *, options) that returns a factor of the scheduled learning rate.

    ``step`` counts from 0 at the first step of the schedule, and ``epoch_steps`` is the number of steps of an epoch.
    An option ``epochs`` is the warm-up's length, and a recipe with a shorter training is refused.
    """
    return WARM_UPS.register(name, version=version)


def factor_of(rule: Rule | None) -> Factor | None:
    """The factor of a rule as a function of (step, epoch_steps); None without a rule."""
    return None if rule is None else function_of(WARM_UPS, rule)


def length_epochs(rule: Rule) -> float | None:
    """The epochs of a warm-up, from a rule with all its options; None if its function has no option ``epochs``."""
    epochs = rule.options.get("epochs")
    return epochs if isinstance(epochs, int | float) else None


@warm_up("linear")
def linear(
    step: int,
    epoch_steps: int,
    *,
    epochs: Annotated[float, Field(gt=0)] = 5.0,
    start: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> float:
    """Gradual warm-up: rise by a constant amount in each step, from ``start`` to 1 after ``epochs``.

    Goyal et al. (2017), section 2.2, begin at the rate of one worker: ``start`` is 1 over the number of workers.
    """
    return min(1.0, start + (1 - start) * step / (epochs * epoch_steps))
