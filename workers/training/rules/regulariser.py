"""Regularisers: registered terms of the loss, from parameters by role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from tickets.registry import Registry
from tickets.roles import Role
from workers.stages import Rule
from workers.stages.execution import StageError
from workers.training.rules.registry import WithOptions, function_of

REGULARISERS = Registry("regulariser", WithOptions)
F = TypeVar("F", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Parameters:
    """The parameters of a network in training, by name and by role; gradients flow through them.

    Attributes:
        by_name: all parameters. Pruned weights are zero, and what a term gives them as gradient is masked.
        roles: role of each parameter (``tickets.Role``), such as "prunable", "classifier", "bias" or "normalization".
    """

    by_name: Mapping[str, Tensor]
    roles: Mapping[str, Role]

    def of(self, *roles: str) -> list[Tensor]:
        """The parameters that have one of these roles, in the order of the network."""
        return [tensor for name, tensor in self.by_name.items() if self.roles[name] in roles]


def regulariser(name: str, *, version: int = 1) -> Callable[[F], F]:
    """Register a function of (parameters, *, options) that returns a term of the loss, as a tensor with one element.

    See ``Parameters``. The term is added to the mean cross-entropy of a batch. The loss in the metrics leaves it out.
    """
    return REGULARISERS.register(name, version=version)


class Penalty:
    """The term of a regulariser, whose gradient is added to that of the loss. It is float32 in every precision."""

    def __init__(self, rule: Rule, model: nn.Module, roles: Mapping[str, Role]) -> None:
        self._name, self._function = rule.name, function_of(REGULARISERS, rule)
        self._parameters = Parameters(dict(model.named_parameters()), roles)

    def add_gradients_(self) -> None:
        """Add the term's gradient to each parameter's."""
        with torch.enable_grad():
            term = self._function(self._parameters)
        if not isinstance(term, Tensor) or term.numel() != 1 or not term.requires_grad:
            raise StageError(f"regulariser {self._name} gives no tensor of one element that depends on the parameters")
        term.sum().backward()


@regulariser("l1")
def l1(parameters: Parameters, *, strength: Annotated[float, Field(ge=0)] = 1e-5) -> Tensor:
    """L1 norm of the prunable weights, times ``strength`` (Han et al. 2015, section 3.1, compare it with L2)."""
    return strength * torch.stack([weight.abs().sum() for weight in parameters.of("prunable")]).sum()
