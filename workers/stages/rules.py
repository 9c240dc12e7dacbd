"""What happens in a training beside the optimizer's steps: registered functions by name, with their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

Options = Mapping[str, int | float | bool | str]


@dataclass(frozen=True)
class Rule:
    """A registered function by its name.

    Attributes:
        options: its keyword arguments. A stage has them all; a recipe may leave out those with a default.
        version: None, in a recipe, takes the registered version; a stage has a number.
    """

    name: str
    options: Options = field(default_factory=dict)
    version: int | None = None


@dataclass(frozen=True)
class MaskRule:
    """A rule that changes the masks while a network trains, and when it acts.

    It acts after every ``every_steps`` steps, as long as fewer than ``until`` of the training's steps are done.

    Attributes:
        every_steps: None takes the steps of an epoch.
        until: share of the training's steps, above 0 and at most 1.
        options, version: as in ``Rule``.
    """

    name: str
    every_steps: int | None = None
    until: float = 1.0
    options: Options = field(default_factory=dict)
    version: int | None = None

    def __post_init__(self) -> None:
        if self.every_steps is not None and self.every_steps < 1:
            raise ValueError(f"every_steps is at least 1, or null for once an epoch, not {self.every_steps}")
        if not 0 < self.until <= 1:
            raise ValueError(f"until is a share of the steps, above 0 and at most 1, not {self.until:g}")


@dataclass(frozen=True)
class Rules:
    """What happens in a training beside the optimizer's steps; by default, nothing.

    Attributes:
        reparametrisation: train factors in place of the prunable weights.
        regulariser: a term that is added to the loss.
        warm_up: a factor of the learning rate in the first steps of the schedule.
        mask_rule: changes the masks every number of steps, in trainings of a sparse network.
    """

    reparametrisation: Rule | None = None
    regulariser: Rule | None = None
    warm_up: Rule | None = None
    mask_rule: MaskRule | None = None

    def under(self, other: Rules) -> Rules:
        """These rules, with the rules of ``other`` in place of those that it has too."""
        given = {each.name: getattr(other, each.name) for each in fields(other)}
        return replace(self, **{name: rule for name, rule in given.items() if rule is not None})

    @property
    def of_dense(self) -> Rules:
        """These rules without the mask rule, for a network without masks."""
        return replace(self, mask_rule=None)


NO_RULES = Rules()
