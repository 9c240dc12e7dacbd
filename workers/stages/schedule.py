"""How one network is trained: optimizer, learning-rate schedule, epochs, gang, and the distribution of AWS's alpha."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from workers.stages.rules import NO_RULES, Options, Rules

Augmentation = Literal["none", "crop_flip", "crop_flip_2", "half_resized_crop_flip", "resized_crop_flip"]
BatchNormPolicy = Literal["synchronised", "per_rank"]


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum, Adam with L2 in the gradient (not AdamW), or a registered optimizer.

    Weight decay covers all parameters.

    Attributes:
        name: "sgd", "adam", or a registered name (``workers.training.optimizer``).
        options, version: of a registered optimizer, as in ``workers.stages.Rule``.
    """

    learning_rate: float
    name: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    options: Options = field(default_factory=dict)
    version: int | None = None


@dataclass(frozen=True)
class Schedule:
    """Learning rate by epoch: constant; times ``factor`` at each milestone; or a cosine down to ``factor`` times it."""

    name: Literal["constant", "steps", "cosine"] = "constant"
    milestones: tuple[int, ...] = ()
    factor: float = 0.1


@dataclass(frozen=True)
class Gang:
    """The devices that train one network together, each on its share of every batch.

    Attributes:
        ranks: number of devices. With synchronised batch norm and no dropout it changes the numbers by rounding only;
            dropout is drawn by each rank separately.
        batch_norm: normalise by the statistics of the whole batch ("synchronised") or of each rank's share of it.
    """

    ranks: int = 1
    batch_norm: BatchNormPolicy = "synchronised"


@dataclass(frozen=True)
class Training:
    """One training with a new optimizer; the last, smaller batch of an epoch is kept.

    Attributes:
        epochs: length of the whole schedule; 0 leaves the network as it is.
        first_epoch: start at this epoch of the schedule, counted from 0.
        stop_after: stop after this epoch of the schedule; None trains to its end.
        batch_size: images per step, over all ranks.
        compiled: run the forward pass through torch.compile, whose fused operations round differently.
        rules: what happens beside the optimizer's steps.
    """

    epochs: int
    batch_size: int
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    augmentation: Augmentation = "none"
    compiled: bool = False
    gang: Gang = Gang()
    first_epoch: int = 0
    stop_after: int | None = None
    rules: Rules = NO_RULES

    @property
    def span(self) -> range:
        """The epochs of the schedule that are trained, counted from 0."""
        return range(self.first_epoch, self.epochs if self.stop_after is None else self.stop_after)


def learning_rate(training: Training, epoch: int) -> float:
    """Learning rate in an epoch, counted from 0; constant within the epoch, but for a warm-up."""
    full, schedule = training.optimizer.learning_rate, training.schedule
    if schedule.name == "steps":
        return full * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    if schedule.name == "cosine":
        low = full * schedule.factor
        return low + (full - low) * (1 + math.cos(math.pi * epoch / training.epochs)) / 2
    return full


@dataclass(frozen=True)
class Alpha:
    """The distribution from which AWS draws one alpha per batch, within [0, 1].

    Attributes:
        parameters: (low, high) of a uniform distribution, or the shape (a, b) of a beta distribution.
    """

    name: Literal["uniform", "beta"] = "uniform"
    parameters: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        first, second = self.parameters
        if self.name == "uniform" and not 0 <= first <= second <= 1:
            raise ValueError(f"uniform takes low and high within 0 and 1, such as [0, 1], not [{first}, {second}]")
        if self.name == "beta" and not (0 < first < math.inf and 0 < second < math.inf):
            raise ValueError(f"beta takes two positive numbers, such as [2, 2], not [{first}, {second}]")


UNIFORM = Alpha()
