"""Pruning criteria: functions that score a network's weights. docs/extending.md shows how to add one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tickets.registry import Registered, Registry
from tickets.roles import BATCH_NORM
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.devices.randomness import exclusive_generators, no_beat
from workers.devices.seeds import derive, generator
from workers.pruning.selection import magnitudes
from workers.stages import Augmentation, Criterion
from workers.stages.execution import StageError

SNIP_BATCHES = 10


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
        beat: call it in long work; it may raise, to end the work.
    """

    model: nn.Module
    masks: Mapping[str, Tensor]
    density: float
    splits: Splits
    augmentation: Augmentation
    batch_size: int
    seed: int
    beat: Callable[[], None] = no_beat

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

    Raise ``version`` when the scores change, so that earlier results are not taken for new ones.
    """
    return CRITERIA.register(name, version=version)


def scores(which: Criterion, candidate: Candidate) -> dict[str, Tensor]:
    """Score a network by a criterion. The criterion gets copies, so that the network and its masks stay unchanged.

    Raises:
        ValueError: the criterion is not registered in this version.
        StageError: its scores are no tensors, do not fit the weights, or are not finite.
    """
    score = CRITERIA.find(which.name, which.version).function
    masks = {name: mask.clone() for name, mask in candidate.masks.items()}
    by_name = score(replace(candidate, model=copy.deepcopy(candidate.model), masks=masks))
    if not isinstance(by_name, Mapping):
        raise StageError(f"criterion {which.name} gives a {type(by_name).__name__}; return tensors by name")
    for name, mask in candidate.masks.items():
        tensor = by_name.get(name)
        if not isinstance(tensor, Tensor) or tensor.shape != mask.shape:
            given = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise StageError(
                f"criterion {which.name} gives {given} for {name}; return a tensor of shape {tuple(mask.shape)}"
            )
        if not bool(tensor[mask].isfinite().all()):
            raise StageError(f"criterion {which.name} gives {name} a score that is not finite; return finite scores")
    return {name: by_name[name].detach() for name in candidate.masks}


@criterion("magnitude")
def magnitude(candidate: Candidate) -> dict[str, Tensor]:
    """Magnitude pruning: score each weight by its absolute value."""
    return magnitudes(candidate.weights)


@criterion("snip")
def snip(candidate: Candidate) -> dict[str, Tensor]:
    """SNIP: score each weight by |gradient * weight|, its effect on the loss (Lee et al. 2019, equation 4)."""
    model = candidate.model.train()
    sums = {name: torch.zeros_like(weight) for name, weight in candidate.weights.items()}
    with exclusive_generators(candidate.splits.device, candidate.beat):  # dropout draws from them
        torch.manual_seed(candidate.generator("dropout").initial_seed())
        for images, labels in candidate.batches(SNIP_BATCHES):
            if len(labels) < 2:  # a batch of one has no variance
                continue
            gradients = _gradients(F.cross_entropy(model(images), labels), model, sums)
            for name, gradient in gradients.items():
                sums[name] += gradient
    return {name: (total * candidate.weights[name]).abs() for name, total in sums.items()}


@criterion("synflow")
def synflow(candidate: Candidate) -> dict[str, Tensor]:
    """SynFlow: score each weight by the flow through it, without data (Tanaka et al. 2020, equation 2)."""
    model = candidate.model.double().eval()  # products over all layers overflow float32
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        for module in model.modules():
            if isinstance(module, BATCH_NORM):
                module.reset_running_stats()
    ones = torch.ones_like(candidate.splits.blank(1)).double()
    gradients = _gradients(model(ones).sum(), model, candidate.masks)
    return {name: (gradient * model.get_parameter(name).detach()).abs() for name, gradient in gradients.items()}


def _gradients(value: Tensor, model: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in names}
    gradients = torch.autograd.grad(value, list(parameters.values()))
    return {name: gradient.detach() for name, gradient in zip(parameters, gradients, strict=True)}


@criterion("random")
def random(candidate: Candidate) -> dict[str, Tensor]:
    """Random pruning: uniform scores."""
    return {
        name: torch.rand(mask.shape, generator=candidate.generator(name)).to(mask.device)
        for name, mask in candidate.masks.items()
    }


@criterion("erk")
def erk(candidate: Candidate) -> dict[str, Tensor]:
    """ERK pruning: random within each layer, at Erdős-Rényi-kernel densities (Evci et al. 2020, section 3)."""
    return _random_at(candidate, {name: tuple(mask.shape) for name, mask in candidate.masks.items()})


@criterion("er")
def er(candidate: Candidate) -> dict[str, Tensor]:
    """ER pruning: random within each layer, at Erdős-Rényi densities (Mocanu et al. 2018, equation 1).

    A layer's density grows with the sum of its inputs and outputs over their product; the sizes of kernels do not count
    (Evci et al. 2020, section 3).
    """
    return _random_at(candidate, {name: tuple(mask.shape[:2]) for name, mask in candidate.masks.items()})


def _random_at(candidate: Candidate, dimensions: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random scores, above zero for the share of each layer that Erdős-Rényi densities of its dimensions keep."""
    sizes = {name: mask.numel() for name, mask in candidate.masks.items()}
    densities = erdos_renyi_densities(dimensions, sizes, candidate.density)
    scores = {}
    for name, mask in candidate.masks.items():
        draws = torch.rand(mask.numel(), generator=candidate.generator(name), dtype=torch.float64).to(mask.device)
        # ranks from 1 / n to 1, dead weights lowest; scores are above zero for the share that the layer keeps
        ranks = torch.where(mask.flatten(), draws, -1.0).argsort().argsort().add(1).double() / mask.numel()
        scores[name] = (ranks - (1 - densities[name])).view_as(mask)
    return scores


def erdos_renyi_densities(
    dimensions: dict[str, tuple[int, ...]], sizes: dict[str, int], density: float
) -> dict[str, float]:
    """Density of each layer: proportional to the sum of its dimensions over their product, at most 1.

    Layers that would exceed 1 stay whole, and the other layers share the rest of the weights that ``density`` leaves.

    Args:
        dimensions: of each layer's weight: all of them for ERK, outputs and inputs for ER.
        sizes: number of weights of each layer.
    """
    raw = {name: sum(shape) / torch.Size(shape).numel() for name, shape in dimensions.items()}
    whole: set[str] = set()
    while True:
        remaining = density * sum(sizes.values()) - sum(sizes[name] for name in whole)
        total = sum(raw[name] * sizes[name] for name in raw if name not in whole)
        scale = max(remaining, 0.0) / total if total else 0.0
        beyond = {name for name in raw if name not in whole and scale * raw[name] > 1}
        if not beyond:
            return {name: 1.0 if name in whole else scale * raw[name] for name in raw}
        whole |= beyond
