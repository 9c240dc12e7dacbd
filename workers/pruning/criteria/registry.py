"""Register pruning criteria by name, and score a network by one. docs/extending.md shows how to add one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tickets.registry import Registered, Registry
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.devices.seeds import derive, generator
from workers.stages import Augmentation, Criterion


@dataclass(frozen=True)
class Candidate:
    """A network that is about to be pruned.

    Attributes:
        model: the network, in training mode, with its pruned weights at zero. The criterion may call and change the
            model, which is a copy.
        masks: boolean mask of each prunable weight by name; True is alive.
        density: fraction of the prunable weights that will be alive after the pruning.
        splits: the data; ``batches`` gives training images.
        augmentation, batch_size: those of the chain's training.
        seed: seed of all draws.
    """

    model: nn.Module
    masks: Mapping[str, Tensor]
    density: float
    splits: Splits
    augmentation: Augmentation
    batch_size: int
    seed: int

    @property
    def weights(self) -> dict[str, Tensor]:
        """The prunable weights by name, detached."""
        return {name: self.model.get_parameter(name).detach() for name in self.masks}

    def generator(self, *labels: int | str) -> torch.Generator:
        """A CPU generator for one stream of draws, named by the labels."""
        return generator(self.seed, "criterion", *labels)

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """At most ``count`` batches of the training split: images as the network sees them, and labels."""
        train = self.splits.train
        draws = draw_epoch(len(train), derive(self.seed, "criterion"), 0, self.augmentation)
        for batch in train.drawn(draws[: count * self.batch_size], self.batch_size, self.augmentation):
            yield self.splits.normalized(batch.images), batch.labels


Score = Callable[[Candidate], Mapping[str, Tensor]]


CRITERIA = Registry[Registered[Score]]("criterion", Registered)


def criterion(name: str, *, version: int = 1) -> Callable[[Score], Score]:
    """Register a function that scores every prunable weight; the lowest scores of all layers together are pruned.

    The function returns a tensor for each name of ``Candidate.masks``, in the mask's shape. Scores of dead weights are
    ignored.

    Args:
        version: raise it when the scores change, so that earlier results are not taken for new ones.
    """

    return CRITERIA.register(name, version=version)


def scores(which: Criterion, candidate: Candidate) -> dict[str, Tensor]:
    """Score a network by a criterion. The criterion gets copies, so that the network and its masks stay unchanged.

    Raises:
        ValueError: the criterion is not registered in this version, or its scores are no tensors, do not fit the
            weights, or are not finite.
    """
    score = CRITERIA.find(which.name, which.version).function
    masks = {name: mask.clone() for name, mask in candidate.masks.items()}
    by_name = score(replace(candidate, model=copy.deepcopy(candidate.model), masks=masks))
    if not isinstance(by_name, Mapping):
        raise ValueError(f"criterion {which.name} gives a {type(by_name).__name__}; return tensors by name")
    for name, mask in candidate.masks.items():
        tensor = by_name.get(name)
        if not isinstance(tensor, Tensor) or tensor.shape != mask.shape:
            given = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise ValueError(
                f"criterion {which.name} gives {given} for {name}; return a tensor of shape {tuple(mask.shape)}"
            )
        if not bool(tensor[mask].isfinite().all()):
            raise ValueError(f"criterion {which.name} gives {name} a score that is not finite; return finite scores")
    return {name: by_name[name].detach() for name in candidate.masks}
