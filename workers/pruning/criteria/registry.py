"""Pruning criteria by name. A user's own is one decorated function in a plugin (docs/extending.md)."""

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
    """A network of which some weights are about to go.

    Attributes:
        model: with its pruned weights at zero, in training mode. A criterion is given a copy of its own: it may call
            and change it.
        masks: boolean masks of the prunable weights by name; True are alive.
        density: fraction of the prunable weights that will be alive afterwards.
        splits: the data; criteria see training images only.
        augmentation, batch_size: as the chain trains.
        seed: of everything that is drawn.
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
        """A CPU generator for one stream of draws."""
        return generator(self.seed, "criterion", *labels)

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """At most so many batches of the training split, as the network sees them, with their labels."""
        train = self.splits.train
        draws = draw_epoch(len(train), derive(self.seed, "criterion"), 0, self.augmentation)
        wanted = draws[: count * self.batch_size]
        for batch in train.drawn(wanted, self.batch_size, self.augmentation):
            yield self.splits.normalized(batch.images), batch.labels


Score = Callable[[Candidate], Mapping[str, Tensor]]


CRITERIA = Registry[Registered[Score]]("criterion", Registered)


def criterion(name: str, *, version: int = 1) -> Callable[[Score], Score]:
    """Register a function that scores every prunable weight: the lowest scores of all layers together go.

    It returns tensors by the names and in the shapes of ``Candidate.masks``; scores of dead weights are not read.

    Args:
        version: raise it when the scores change, so that earlier results are not taken for the new one's.
    """

    return CRITERIA.register(name, version=version)


def scores(which: Criterion, candidate: Candidate) -> dict[str, Tensor]:
    """What a criterion makes of a network, which stays as it is, as do the masks, whatever the criterion does.

    Raises:
        ValueError: there is none of this name and version, or its scores are no tensors that fit the weights, or are
            not finite.
    """
    score = CRITERIA.find(which.name, which.version).function
    masks = {name: mask.clone() for name, mask in candidate.masks.items()}
    found = score(replace(candidate, model=copy.deepcopy(candidate.model), masks=masks))
    if not isinstance(found, Mapping):
        raise ValueError(f"criterion {which.name} gives a {type(found).__name__}, and no mapping of tensors by name")
    for name, mask in candidate.masks.items():
        tensor = found.get(name)
        if not isinstance(tensor, Tensor) or tensor.shape != mask.shape:
            given = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else f"type {type(tensor).__name__}"
            raise ValueError(
                f"criterion {which.name} gives no tensor of shape {tuple(mask.shape)} for {name}: it is of {given}"
            )
        if not bool(tensor[mask].isfinite().all()):
            raise ValueError(f"criterion {which.name} gives a score of {name} that is not finite")
    return {name: found[name].detach() for name in candidate.masks}
