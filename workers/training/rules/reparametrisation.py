"""Reparametrisations: train factors in place of each prunable weight, which is a function of its factors.

The network holds the effective weights throughout, so forward passes, masks, evaluation, tickets and probes know
nothing of the factors. After the backward pass the gradients of the weights are pulled back to the factors by the chain
rule; the optimizer steps the factors, and the weights are computed from them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from tickets.registry import Registry
from workers.stages import Rule
from workers.training.rules.registry import WithOptions, function_of

REPARAMETRISATIONS = Registry("reparametrisation", WithOptions)


@dataclass(frozen=True)
class Reparametrisation:
    """How a weight is made of factors.

    Attributes:
        factors: returns the factors of a weight, each in the weight's shape.
        weight: differentiable inverse: returns the weight of these factors. Zero factors must give a zero weight.
        reset_epochs: replace the factors by those of the current weight every number of epochs; None never does.
    """

    factors: Callable[[Tensor], tuple[Tensor, ...]]
    weight: Callable[..., Tensor]
    reset_epochs: int | None = None


F = TypeVar("F", bound=Callable[..., Reparametrisation])


def reparametrisation(name: str, *, version: int = 1) -> Callable[[F], F]:
    """Register a function of (*, options) that returns a ``Reparametrisation`` of the prunable weights."""
    return REPARAMETRISATIONS.register(name, version=version)


class Factors:
    """The factors of a network's prunable weights. Factors of pruned weights are zero.

    Args:
        names: the prunable weights.
        masks: boolean masks by name; without masks no weight is pruned.
    """

    @torch.no_grad()
    def __init__(self, rule: Rule, model: nn.Module, names: Sequence[str], masks: Mapping[str, Tensor]) -> None:
        self._how: Reparametrisation = function_of(REPARAMETRISATIONS, rule)()
        self._weights = {name: model.get_parameter(name) for name in names}
        self.by_weight = {
            name: [nn.Parameter(torch.empty_like(weight).copy_(factor)) for factor in self._how.factors(weight)]
            for name, weight in self._weights.items()
        }
        for name, mask in masks.items():
            for factor in self.by_weight[name]:
                factor.mul_(mask)

    def tensors(self) -> dict[str, Tensor]:
        """The factors by name, not copied."""
        return {f"factor.{name}.{i}": each for name, own in self.by_weight.items() for i, each in enumerate(own)}

    def zero_grad(self) -> None:
        """Drop the gradients of the weights; the optimizer knows the factors only."""
        for weight in self._weights.values():
            weight.grad = None

    def pull_back_(self) -> None:
        """Turn the gradients of the weights into those of the factors."""
        with torch.enable_grad():
            weights = [self._how.weight(*factors) for factors in self.by_weight.values()]
        gradients = [weight.grad for weight in self._weights.values()]
        inputs = [factor for factors in self.by_weight.values() for factor in factors]
        torch.autograd.backward(weights, gradients, inputs=inputs)

    @torch.no_grad()
    def set_weights_(self) -> None:
        """Compute the network's weights from the factors."""
        for name, weight in self._weights.items():
            weight.copy_(self._how.weight(*self.by_weight[name]))

    def reset_due(self, epoch: int) -> bool:
        """Whether the factors are reset before an epoch, counted from 0 at the training's start."""
        return self._how.reset_epochs is not None and epoch > 0 and epoch % self._how.reset_epochs == 0

    @torch.no_grad()
    def reset_(self, masks: Mapping[str, Tensor]) -> None:
        """Replace the factors by those of the current weights, which stay; the optimizer keeps its state."""
        for name, weight in self._weights.items():
            for factor, fresh in zip(self.by_weight[name], self._how.factors(weight), strict=True):
                factor.copy_(fresh if name not in masks else fresh * masks[name])

    @torch.no_grad()
    def regrow_(self, name: str, grown: Tensor, dropped: Tensor) -> None:
        """Give grown weights, which are zero, the factors of zero, and dropped weights zero factors."""
        fresh = self._how.factors(torch.zeros_like(self._weights[name]))
        for factor, of_zero in zip(self.by_weight[name], fresh, strict=True):
            factor.copy_(torch.where(grown, of_zero, factor.masked_fill(dropped, 0.0)))


@reparametrisation("sign_in")
def sign_in(
    *, beta: Annotated[float, Field(gt=0)] = 1.0, reset_epochs: Annotated[int, Field(ge=1)] = 1
) -> Reparametrisation:
    """Sign-In: each weight is a product m * w with inner scaling m^2 - w^2 = beta (Gadhikar et al. 2025, section 5).

    Plain gradient flow on m and w moves the weight at the speed m^2 + w^2 = sqrt(beta^2 + 4 weight^2), which is not
    zero at a weight of zero, so that weights cross it and flip their sign. Noise and weight decay shrink the inner
    scaling; every ``reset_epochs`` it is set to ``beta`` again, with the same weight.
    """

    def factors(weight: Tensor) -> tuple[Tensor, ...]:
        # of the two solutions, the one with a positive m: m^2 = (beta + sqrt(beta^2 + 4 weight^2)) / 2
        m = ((beta + (4 * weight.square() + beta**2).sqrt()) / 2).sqrt()
        return m, weight / m

    return Reparametrisation(factors, torch.mul, reset_epochs)
