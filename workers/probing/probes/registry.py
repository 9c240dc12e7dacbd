"""Probes of pairs by name. A user's own is one decorated function in a plugin (docs/extending.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tickets.registry import Registered, Registry
from workers.data.batches import Split
from workers.data.splits import Splits
from workers.devices.seeds import generator
from workers.stages import PairProbe
from workers.training.evaluation import evaluation_batch

_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Pair:
    """Two solutions that are compared: a transfer's and its retrain's, or two of one start.

    Attributes:
        a, b: the networks, on the device and in evaluation mode, with their own batch-norm statistics and their pruned
            weights at zero; a probe leaves them as they are.
        prunable: names of the prunable weights.
        splits: the data.
        seed: of everything that is drawn.
        beat: call this at least every minute while the probe reads no batches; it may raise to end the probe.
    """

    a: nn.Module
    b: nn.Module
    prunable: tuple[str, ...]
    splits: Splits
    seed: int
    beat: Callable[[], None] = lambda: None

    @property
    def weights(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The prunable weights of both, detached, layer by layer."""
        for name in self.prunable:
            yield self.a.get_parameter(name).detach(), self.b.get_parameter(name).detach()

    @torch.no_grad()
    def logits(self, split: Split) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What both say to every image of a split, batch by batch: float32 (batch, classes) each, and the labels."""
        for batch in split.in_order(evaluation_batch(split)):
            self.beat()
            images = self.splits.normalized(batch.images)
            with self.splits.autocast():
                said = self.a(images), self.b(images)
            yield said[0].float(), said[1].float(), batch.labels

    def generator(self, *labels: int | str) -> torch.Generator:
        """A CPU generator for one stream of draws, the same for all pairs."""
        return generator(self.seed, "probe", *labels)


Measure = Callable[[Pair], Mapping[str, float]]


PROBES = Registry[Registered[Measure]]("probe", Registered)


def probe(name: str, *, version: int = 1) -> Callable[[Measure], Measure]:
    """Register a function that measures a pair of solutions: numbers by what they are, with the unit in the word.

    The number called "percent" by the probe "disagreement" is the column ``disagreement_percent``.

    Args:
        name: small letters, digits and underscores.
        version: raise it when the numbers change, so that earlier results are not taken for the new one's.

    Raises:
        ValueError: the name cannot begin a column's.
    """
    if not _WORD.fullmatch(name):
        raise ValueError(f"a probe is named by small letters, digits and underscores, not {name!r}")
    return PROBES.register(name, version=version)


def measured(stage: PairProbe, pair: Pair) -> dict[str, float]:
    """What a probe finds in a pair, by column.

    Raises:
        ValueError: there is none of this name and version, or what it returns is not some finite numbers by words.
    """
    measure = PROBES.find(stage.probe, stage.probe_version).function
    numbers = {word: float(value) for word, value in measure(pair).items()}
    if not numbers:
        raise ValueError(f"probe {stage.probe} returns no number")
    for word, value in numbers.items():
        if not _WORD.fullmatch(word):
            raise ValueError(f"probe {stage.probe}: {word!r} is no word of small letters, digits and underscores")
        if not math.isfinite(value):
            raise ValueError(f"probe {stage.probe}: {word} is {value}, and no number")
    return {f"{stage.probe}_{word}": value for word, value in numbers.items()}
