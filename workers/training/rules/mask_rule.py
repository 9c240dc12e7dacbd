"""Mask rules: registered functions that change the masks every number of steps, while a network trains.

A weight that a rule grows starts at zero, without momentum: a pruned weight is zero, and so are its gradient and its
momentum. A weight that a rule drops becomes zero, and so does its momentum. A weight that is alive before and after
keeps both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tickets.registry import Registry
from workers.devices.seeds import generator
from workers.pruning.masking import Masking
from workers.stages import MaskRule
from workers.stages.execution import StageError
from workers.training.rules.registry import WithOptions, function_of
from workers.training.rules.reparametrisation import Factors

log = logging.getLogger("winning_sign")


@dataclass(frozen=True)
class MaskUpdate:
    """A network in training whose masks a rule may change. All tensors are read only.

    Attributes:
        weights: the prunable weights by name; pruned ones are zero.
        masks: boolean mask of each prunable weight; True is alive.
        gradients: of the loss with respect to each prunable weight, alive or pruned, over one batch of training
            images; empty unless the rule asks for them.
        step: steps of this training that are done.
        last_step: the rule acts while fewer steps than this are done.
        seed: seed of all draws.
    """

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    step: int
    last_step: float
    seed: int

    def generator(self, *labels: int | str) -> torch.Generator:
        """A CPU generator for one stream of draws, named by the labels; each update has its own."""
        return generator(self.seed, "mask_rule", self.step, *labels)


Masks = Mapping[str, Tensor]


@dataclass(frozen=True)
class MaskRuleFunction(WithOptions):
    """A registered mask rule.

    Attributes:
        gradients: the rule reads gradients. The batch of its step gives them, and then no weight is updated.
    """

    gradients: bool = False


MASK_RULES = Registry("mask rule", MaskRuleFunction)
F = TypeVar("F", bound=Callable[..., Masks])


def mask_rule(name: str, *, version: int = 1, gradients: bool = False) -> Callable[[F], F]:
    """Register a function of (update, *, options) that returns a boolean mask for each name of ``update.masks``.

    See ``MaskUpdate``. With ``gradients``, a batch is spent on the gradients of all weights, pruned ones too.
    """
    return MASK_RULES.register(name, version=version, gradients=gradients)


class DynamicMasks:
    """Applies a mask rule in a training: in place, so that captured steps read the new masks.

    Args:
        differentiate: computes the gradients of all parameters on a batch, over all ranks, and changes no weight.
        steps, epoch_steps: steps of the whole training, and of an epoch.
        seed: seed of the training.
    """

    def __init__(
        self,
        rule: MaskRule,
        model: nn.Module,
        masking: Masking,
        optimizer: torch.optim.Optimizer,
        factors: Factors | None,
        differentiate: Callable[[Tensor, Tensor, Tensor], None],
        *,
        steps: int,
        epoch_steps: int,
        seed: int,
    ) -> None:
        self._rule, self._function = rule, function_of(MASK_RULES, rule)
        self._reads_gradients = MASK_RULES[rule.name].gradients
        self._masking, self._optimizer, self._factors = masking, optimizer, factors
        self._weights = {name: model.get_parameter(name) for name in masking.by_name}
        self._differentiate, self._seed = differentiate, seed
        self._every, self._last_step = rule.every_steps or epoch_steps, rule.until * steps
        if steps and not self.due(self._every):
            log.warning("the mask rule %s acts every %d of %d steps, so it never acts", rule.name, self._every, steps)

    def due(self, step: int) -> bool:
        """Whether the rule acts when ``step`` steps of the training are done."""
        return 0 < step < self._last_step and step % self._every == 0

    def tensors(self) -> dict[str, Tensor]:
        """The masks by name, not copied."""
        return {f"mask.{name}": mask for name, mask in self._masking.by_name.items()}

    def masks(self) -> dict[str, Tensor]:
        """Boolean copies of the masks by name."""
        return {name: mask.bool() for name, mask in self._masking.by_name.items()}

    def update_(self, step: int, images: Tensor, labels: Tensor, alpha: Tensor) -> bool:
        """Change the masks; return whether this spent the batch.

        Raises:
            StageError: the rule gives no boolean mask of each weight's shape.
        """
        gradients: dict[str, Tensor] = {}
        if self._reads_gradients:
            self._differentiate(images, labels, alpha)
            gradients = {name: _gradient(weight) for name, weight in self._weights.items()}
        weights = {name: weight.detach() for name, weight in self._weights.items()}
        masks = self.masks()
        new = self._function(MaskUpdate(weights, dict(masks), gradients, step, self._last_step, self._seed))
        for name, mask in masks.items():
            self._check(name, mask, new.get(name) if isinstance(new, Mapping) else new)
            self._change_(name, mask, new[name])
        return self._reads_gradients

    def _check(self, name: str, old: Tensor, new: Any) -> None:
        if not isinstance(new, Tensor) or new.dtype != torch.bool or new.shape != old.shape:
            given = f"{new.dtype} of shape {tuple(new.shape)}" if isinstance(new, Tensor) else f"a {type(new).__name__}"
            raise StageError(
                f"mask rule {self._rule.name} gives {given} for {name}; return a boolean tensor of shape "
                f"{tuple(old.shape)}"
            )

    @torch.no_grad()
    def _change_(self, name: str, old: Tensor, new: Tensor) -> None:
        weight, dropped, grown = self._weights[name], old & ~new, new & ~old
        self._masking.by_name[name].copy_(new)
        weight.masked_fill_(dropped, 0.0)
        trained = [weight]
        if self._factors is not None:
            self._factors.regrow_(name, grown, dropped)
            trained = list(self._factors.by_weight[name])
        for parameter in trained:
            for moment in self._optimizer.state[parameter].values():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    moment.masked_fill_(dropped, 0.0)


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad.detach()
