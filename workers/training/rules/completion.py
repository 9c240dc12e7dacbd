"""Complete what a recipe says of a training: all options, and registered versions."""

from __future__ import annotations

from workers.stages import Rules
from workers.training.rules.mask_rule import MASK_RULES
from workers.training.rules.registry import completed
from workers.training.rules.regulariser import REGULARISERS
from workers.training.rules.reparametrisation import REPARAMETRISATIONS
from workers.training.rules.warm_up import WARM_UPS


def completed_rules(rules: Rules) -> Rules:
    """The rules with all options and registered versions; ValueError if one is unknown or does not fit."""
    return Rules(
        reparametrisation=rules.reparametrisation and completed(REPARAMETRISATIONS, rules.reparametrisation),
        regulariser=rules.regulariser and completed(REGULARISERS, rules.regulariser),
        warm_up=rules.warm_up and completed(WARM_UPS, rules.warm_up),
        mask_rule=rules.mask_rule and completed(MASK_RULES, rules.mask_rule),
    )
