"""Optimizers beside the built-in SGD and Adam: registered factories of ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from tickets.registry import Registry, unknown
from workers.stages import Optimizer
from workers.stages.execution import StageError
from workers.training.rules.registry import WithOptions, completed, function_of

BUILT_IN = ("sgd", "adam")
OPTIMIZERS = Registry("optimizer", WithOptions)
F = TypeVar("F", bound=Callable[..., torch.optim.Optimizer])


def optimizer(name: str, *, version: int = 1) -> Callable[[F], F]:
    """Register a factory: a function of (parameters, spec, *, options) that returns a ``torch.optim.Optimizer``.

    ``spec`` is the recipe's ``workers.stages.Optimizer``. Take ``spec.weight_decay`` and what else applies from it; the
    trainer sets the learning rate before every epoch or step. All state must be tensors that begin at zero; the trainer
    allocates it by a step without gradient at rate 0. On a GPU the learning rate is a 0-d tensor.
    """
    if name in BUILT_IN:
        raise ValueError(f"optimizer {name!r} is built in; choose another name")
    return OPTIMIZERS.register(name, version=version)


def completed_optimizer(spec: Optimizer) -> Optimizer:
    """The optimizer with all options and the registered version; ValueError if one is unknown or does not fit."""
    if spec.name not in BUILT_IN:
        if spec.name not in OPTIMIZERS:
            raise ValueError(unknown("optimizer", spec.name, [*BUILT_IN, *OPTIMIZERS], plugins=True))
        return completed(OPTIMIZERS, spec)
    if spec.options or spec.version is not None:
        raise ValueError(f"optimizer {spec.name} is built in: it has neither options nor versions")
    return spec


def registered_optimizer(spec: Optimizer, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Make a registered optimizer, without its state; UnknownNameError if it is not registered in this version."""
    made: torch.optim.Optimizer = function_of(OPTIMIZERS, spec)(parameters, spec)
    held = [parameter for group in made.param_groups for parameter in group["params"]]
    if [id(each) for each in held] != [id(each) for each in parameters]:
        raise StageError(f"optimizer {spec.name} must hold all parameters, in the order in which it gets them")
    return made


def check_state(spec: Optimizer, made: torch.optim.Optimizer) -> None:
    """Check the state that a step without gradient allocated: checkpoints hold tensors, which start from zero.

    Raises:
        StageError: a state is no tensor, or such a step left another number than zero or a count of steps.
    """
    for state in made.state.values():
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise StageError(f"optimizer {spec.name}: its state {name} is no tensor, so no checkpoint can hold it")
            if name != "step" and bool(value.any()):
                raise StageError(
                    f"optimizer {spec.name}: its state {name} does not begin at zero, as the trainer allocates it"
                )


@optimizer("adamw")
def adamw(
    parameters: Sequence[nn.Parameter],
    spec: Optimizer,
    *,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""
    return torch.optim.AdamW(
        parameters,
        lr=0.0,
        betas=(beta1, beta2),
        weight_decay=spec.weight_decay,
        fused=True,
        capturable=parameters[0].is_cuda,
    )
