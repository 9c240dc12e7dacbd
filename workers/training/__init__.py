"""Train one network: step, psi interpolation, checkpoints, evaluation; and what recipes let happen in a training."""

from workers.training.rules import sparse_training
from workers.training.rules.mask_rule import MASK_RULES, MaskUpdate, mask_rule
from workers.training.rules.optimizers import OPTIMIZERS, optimizer
from workers.training.rules.regulariser import REGULARISERS, Parameters, regulariser
from workers.training.rules.reparametrisation import REPARAMETRISATIONS, Reparametrisation, reparametrisation
from workers.training.rules.warm_up import WARM_UPS, warm_up

__all__ = [
    "MASK_RULES",
    "OPTIMIZERS",
    "REGULARISERS",
    "REPARAMETRISATIONS",
    "WARM_UPS",
    "MaskUpdate",
    "Parameters",
    "Reparametrisation",
    "mask_rule",
    "optimizer",
    "regulariser",
    "reparametrisation",
    "sparse_training",
    "warm_up",
]
