"""The rules of one training, made for its network; the trainer calls them at its steps and epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tickets.roles import Role
from workers.pruning.masking import Masking
from workers.stages import Training, learning_rate
from workers.training.rules.mask_rule import DynamicMasks
from workers.training.rules.regulariser import Penalty
from workers.training.rules.reparametrisation import Factors
from workers.training.rules.warm_up import factor_of

Differentiate = Callable[[Tensor, Tensor, Tensor], None]


class ActiveRules:
    """What ``training.rules`` name; without rules, nothing happens and nothing is kept.

    Attributes:
        factors: what the optimizer trains in place of the prunable weights; None without a reparametrisation.
        penalty: a regulariser's term; None without one.

    Args:
        roles: role of each parameter by name.
        masks: boolean masks by name, which a mask rule changes in place when the training ends.
        images: number of training images.
        seed: the training's SGD seed.
    """

    def __init__(
        self,
        training: Training,
        model: nn.Module,
        roles: Mapping[str, Role],
        masks: Mapping[str, Tensor],
        *,
        images: int,
        seed: int,
    ) -> None:
        rules = training.rules
        prunable = [name for name, role in roles.items() if role is Role.PRUNABLE]
        self._training, self._model, self._masks, self._seed = training, model, masks, seed
        self._epoch_steps = -(-images // training.batch_size)
        self._warm_up = factor_of(rules.warm_up)
        self._dynamic: DynamicMasks | None = None
        self.penalty = Penalty(rules.regulariser, model, roles) if rules.regulariser else None
        how = rules.reparametrisation
        self.factors = Factors(how, model, prunable, masks) if how else None

    def begin(self, masking: Masking, optimizer: torch.optim.Optimizer, differentiate: Differentiate) -> None:
        """Prepare the mask rule, if there is one, and masks for it to change."""
        rule = self._training.rules.mask_rule
        if rule and self._masks:
            steps = len(self._training.span) * self._epoch_steps
            self._dynamic = DynamicMasks(
                rule,
                self._model,
                masking,
                optimizer,
                self.factors,
                differentiate,
                steps=steps,
                epoch_steps=self._epoch_steps,
                seed=self._seed,
            )

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds besides network and optimizer, not copied."""
        return {
            **(self.factors.tensors() if self.factors else {}),
            **(self._dynamic.tensors() if self._dynamic else {}),
        }

    @property
    def current_masks(self) -> Callable[[], Mapping[str, Tensor]] | None:
        """Returns the masks as they are when called; None if the training does not change them."""
        return self._dynamic.masks if self._dynamic else None

    @property
    def rate_changes_by_step(self) -> bool:
        """Whether the learning rate changes within an epoch."""
        return self._warm_up is not None

    def learning_rate(self, epoch: int, batch: int) -> float:
        """Learning rate of a step: the schedule's, times the warm-up's factor."""
        scheduled = learning_rate(self._training, epoch)
        if self._warm_up is None:
            return scheduled
        return scheduled * self._warm_up(epoch * self._epoch_steps + batch, self._epoch_steps)

    def last_learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch's last step."""
        return self.learning_rate(epoch, self._epoch_steps - 1)

    def begin_epoch_(self, epoch: int) -> None:
        """Reset the factors, if it is time; a second call before the epoch's first step changes nothing."""
        if self.factors and self.factors.reset_due(epoch - self._training.first_epoch):
            self.factors.reset_(self._dynamic.masks() if self._dynamic else self._masks)

    def update_masks_(self, epoch: int, batch: int, images: Tensor, labels: Tensor, alpha: Tensor) -> bool:
        """Apply the mask rule before a step, if it is due; return whether this spent the step's batch."""
        step = (epoch - self._training.first_epoch) * self._epoch_steps + batch
        return bool(self._dynamic and self._dynamic.due(step) and self._dynamic.update_(step, images, labels, alpha))

    def finish_(self) -> None:
        """Write the final masks into those that the training was called with."""
        if self._dynamic:
            for name, mask in self._dynamic.masks().items():
                self._masks[name].copy_(mask)
