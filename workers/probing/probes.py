"""Probes of pairs besides the barrier: measuring functions by name. docs/extending.md shows how to add one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from tickets.registry import Registered, Registry
from workers.data.batches import Split
from workers.data.splits import Splits
from workers.devices.seeds import derive, generator
from workers.probing.path import (
    State,
    barrier_row,
    copy_with,
    mix,
    outcomes_by_group,
    path_outcomes,
    reestimation,
)
from workers.stages import PairProbe, PathEvaluation
from workers.stages.execution import StageError
from workers.training.evaluation import Outcomes, evaluation_batch, reestimate_statistics, training_images

_NONE: Mapping[str, Sequence[int]] = MappingProxyType({})
_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Pair:
    """Two solutions to compare: a transfer's and its retrain's, or two trainings of one start.

    Attributes:
        a, b: the networks, on the device and in evaluation mode, with their own batch-norm statistics and pruned
            weights at zero. A probe must not change them.
        prunable: names of the prunable weights.
        splits: the data.
        seed: seed of all draws.
        beat: call this at least every minute while the probe reads no batches; it may raise to end the probe.
        path: how networks on paths are evaluated; None unless the probe is registered with ``path=True``.
        surviving_zeros: of a and of b, the flat places of survivors that are exactly zero, by weight.
    """

    a: nn.Module
    b: nn.Module
    prunable: tuple[str, ...]
    splits: Splits
    seed: int
    beat: Callable[[], None] = lambda: None
    path: PathEvaluation | None = None
    surviving_zeros: tuple[Mapping[str, Sequence[int]], Mapping[str, Sequence[int]]] = (_NONE, _NONE)

    def masks(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The masks of a and of b by name of a prunable weight, boolean in its shape."""
        a, b = (self._mask(end, zeros) for end, zeros in zip((self.a, self.b), self.surviving_zeros, strict=True))
        return a, b

    def _mask(self, end: nn.Module, zeros: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        masks = {name: (end.get_parameter(name).detach() != 0).contiguous() for name in self.prunable}
        for name, places in zeros.items():
            masks[name].view(-1)[list(places)] = True
        return masks

    @property
    def weights(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The prunable weights of both networks, detached, layer by layer."""
        for name in self.prunable:
            yield self.a.get_parameter(name).detach(), self.b.get_parameter(name).detach()

    @torch.no_grad()
    def logits(self, split: Split) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Both networks' logits, float32 (batch, classes), and the labels, batch by batch over a split."""
        for batch in split.in_order(evaluation_batch(split)):
            self.beat()
            images = self.splits.normalized(batch.images)
            with self.splits.autocast():
                logits_a, logits_b = self.a(images), self.b(images)
            yield logits_a.float(), logits_b.float(), batch.labels

    def training_batches(self, images: int) -> Iterator[Tensor]:
        """Draw training images, not augmented, as the networks see them; the same for all pairs.

        Args:
            images: number of images; the whole training split if it has no more.

        Yields:
            float32 (batch, channels, height, width).
        """
        return training_images(self.splits, images, derive(self.seed, "training images"), self.beat)

    def at(self, weight: float) -> dict[str, Tensor]:
        """State dict of the point ``weight * a + (1 - weight) * b`` of the straight path."""
        return mix((self.a.state_dict(), self.b.state_dict()), (weight, 1 - weight))

    def outcomes(self, states: Iterable[State], model: nn.Module | None = None) -> list[Outcomes]:
        """Evaluate networks, given as state dicts, on the test set; batch-norm statistics are re-estimated first.

        Args:
            model: a network that these states fit, if it is not the pair's.

        Raises:
            StageError: the probe is not registered with ``path=True``.
        """
        network = self.a if model is None else model
        groups = outcomes_by_group(network, states, self.evaluation, self.splits, self.beat)
        return [outcomes for group in groups for outcomes in group]

    def reestimated(self, state: State) -> nn.Module:
        """Build a network, given as a state dict, with batch-norm statistics re-estimated, in evaluation mode.

        Raises:
            StageError: the probe is not registered with ``path=True``.
        """
        network = copy_with(self.a, state)
        reestimate_statistics([network], self.splits, reestimation(self.evaluation), self.beat)
        return network.eval()

    def barrier(self, a: State | None = None, b: State | None = None) -> dict[str, Any]:
        """Barriers of error and loss between two state dicts, by default the pair's: the row of ``barrier.parquet``.

        Raises:
            StageError: the probe is not registered with ``path=True``.
        """
        ends = self.a.state_dict() if a is None else a, self.b.state_dict() if b is None else b
        lambdas, (points,) = path_outcomes(self.a, [ends], self.evaluation, self.splits, self.beat)
        return barrier_row(lambdas, points)

    @property
    def evaluation(self) -> PathEvaluation:
        """How networks on paths are evaluated; StageError unless the probe is registered with ``path=True``."""
        if self.path is None:
            raise StageError("this probe evaluates networks on paths; register it with @probe(name, path=True)")
        return self.path

    def generator(self, *labels: int | str) -> torch.Generator:
        """A CPU generator for one stream of draws, named by the labels and the same for all pairs."""
        return generator(self.seed, "probe", *labels)


Measure = Callable[[Pair], Mapping[str, float]]


Unfit = Callable[[nn.Module, Sequence[str]], str]


def _fit(model: nn.Module, prunable: Sequence[str]) -> str:
    return ""


@dataclass(frozen=True)
class RegisteredProbe(Registered[Measure]):
    """A registered probe.

    Attributes:
        path: whether it evaluates networks on paths. Its stages then hold how, so its numbers have the recipe's points
            and re-estimation in their keys, as barriers have.
        statistics: whether it evaluates the networks with the running statistics of their own training.
        unfit: says why it cannot measure a network with these prunable weights; empty if it can.
    """

    path: bool = False
    statistics: bool = True
    unfit: Unfit = _fit


PROBES = Registry("probe", RegisteredProbe)


def probe(
    name: str, *, version: int = 1, path: bool = False, statistics: bool | None = None, unfit: Unfit = _fit
) -> Callable[[Measure], Measure]:
    """Register a function that measures a pair of solutions and returns numbers by name, units included.

    The number "percent" of the probe "disagreement" becomes the column ``disagreement_percent``.

    Args:
        name: small letters, digits and underscores.
        version: raise it when the numbers change, so that earlier results are not taken for new ones.
        path: whether it evaluates networks on paths: ``Pair.outcomes`` and ``Pair.barrier``.
        statistics: whether it evaluates the networks with the running statistics of their own training, so that it has
            no meaning at the ends of AWS's rounds; None says so unless it evaluates networks on paths.
        unfit: a function of a network and the names of its prunable weights that says why the probe cannot measure it,
            in words that follow the network's name, or returns an empty text; the plan then refuses the probe.

    Raises:
        ValueError: the name cannot begin a column's name.
    """
    if not _WORD.fullmatch(name):
        raise ValueError(f"probe {name!r}: name it in small letters, digits and underscores")
    own = not path if statistics is None else statistics
    return PROBES.register(name, version=version, path=path, statistics=own, unfit=unfit)


def measured(stage: PairProbe, pair: Pair) -> dict[str, float]:
    """Measure a pair by a stage's probe: numbers by column.

    Raises:
        ValueError: the probe is not registered in this version.
        StageError: it returns no numbers, or numbers that are not finite or have no valid names.
    """
    measure = PROBES.find(stage.probe, stage.probe_version).function
    numbers = {word: float(value) for word, value in measure(pair).items()}
    if not numbers:
        raise StageError(f"probe {stage.probe} returns no number; return at least one")
    for word, value in numbers.items():
        if not _WORD.fullmatch(word):
            raise StageError(f"probe {stage.probe}: name {word!r} in small letters, digits and underscores")
        if not math.isfinite(value):
            raise StageError(f"probe {stage.probe}: {word} is {value}; return finite numbers")
    return {f"{stage.probe}_{word}": value for word, value in numbers.items()}


@probe("disagreement")
def disagreement(pair: Pair) -> dict[str, float]:
    """Disagreement: share of the test images that two solutions classify differently (Fort et al. 2019, section 4)."""
    differ = [a.argmax(1) != b.argmax(1) for a, b, _ in pair.logits(pair.splits.test)]
    return {"percent": 100 * float(torch.cat(differ).double().mean())}


@probe("weight_distance", statistics=False)
def weight_distance(pair: Pair) -> dict[str, float]:
    """Weight distance: Euclidean distance between the prunable weights, and the cosine of their angle."""
    sums = torch.zeros(4, dtype=torch.float64, device=pair.splits.device)
    for a, b in pair.weights:
        u, v = a.double(), b.double()
        sums += torch.stack(((u - v).square().sum(), (u * v).sum(), u.square().sum(), v.square().sum()))
    apart, inner, length_a, length_b = sums.tolist()
    lengths = (length_a * length_b) ** 0.5
    return {"l2": apart**0.5, "cosine": inner / lengths if lengths else 0.0}
