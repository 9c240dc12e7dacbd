"""Match units by what they compute: the correlations of their activations on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from workers.probing.alignment.graph import PermutationGraph, Reading, compose
from workers.probing.alignment.matching import assigned

BYTES_AT_ONCE = 4_000_000_000
"""Of the activations of one network: a batch is read in parts where it has more, as of ResNet-50."""
CONSTANT = 1e-12
"""Share of the mean square up to which a variance is rounding, of sums in float64."""


def match_activations(
    graph: PermutationGraph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    batches: Iterable[Tensor],
    beat: Callable[[], None] = lambda: None,
) -> Tensor:
    """Activation matching (Li et al. 2016; Ainsworth et al. 2023, section 3.1): correlate activations, and assign.

    Activations are what convolutions, linear layers and attention read, after the nonlinearity. A unit that is read
    several times, such as a channel of a residual stream, has the sum of its correlations. Positions in space count as
    further images.

    Args:
        a, b: state dicts.
        batches: images as the networks see them, float32 (batch, channels, height, width).
        beat: called before every part of a batch; it may raise to end the matching.

    Returns:
        A permutation for ``graph.permuted``, which moves b.
    """
    kinds = [kind.flatten() for group in graph.groups for kind in group.kinds]
    moments = [[_Moments(reading, units) for reading in graph.readings if _reads(reading, units)] for units in kinds]
    wanted = {each.node for each in graph.readings}
    bytes_each = 4 * sum(each.units.numel() for each in graph.readings)  # of an image, in float32
    at_once = max(1, BYTES_AT_ONCE // max(1, bytes_each))
    for images in (part for batch in batches for part in batch.split(at_once)):
        beat()
        of_a, of_b = (_activations(graph, state, images, wanted) for state in (a, b))
        for each in (each for of_kind in moments for each in of_kind):
            each.add(of_a[each.node], of_b[each.node])
    by_first = {int(units[0]): of_kind for units, of_kind in zip(kinds, moments, strict=True)}
    permutation = graph.identity
    for group in graph.groups:
        beat()
        similarities = [_sum(by_first[int(kind[0, 0])], kind.numel()) for kind in group.kinds]
        permutation = compose(assigned(graph, group, similarities), permutation)
    return permutation


def _sum(moments: Iterable[_Moments], units: int) -> Tensor:
    return sum((each.correlations().cpu() for each in moments), torch.zeros(units, units, dtype=torch.float64))


def _reads(reading: Reading, units: Tensor) -> bool:
    return bool((reading.units == units[0]).any())


class _Moments:
    """Sums over images of the activations that one reading has of some units, of both networks."""

    def __init__(self, reading: Reading, units: Tensor) -> None:
        self.node = reading.node
        self._axes = [axis for axis, size in enumerate(reading.units.shape) if size > 1]
        flat = reading.units.flatten()
        order = torch.argsort(flat, stable=True)
        times = int((flat == units[0]).sum())
        self._indices = order[torch.searchsorted(flat[order], units)[:, None] + torch.arange(times)]
        self._count, self._sums = 0, [torch.zeros(())] * 5

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add the activations of a batch, (images, *the value's shape)."""
        x, y = self._by_unit(a), self._by_unit(b)
        self._count += x.shape[1]
        new = [x.sum(1), y.sum(1), x.square().sum(1), y.square().sum(1), x @ y.T]
        self._sums = [total.to(each) + each for total, each in zip(self._sums, new, strict=True)]

    def _by_unit(self, values: Tensor) -> Tensor:
        """Activations as float64 (units, images and positions)."""
        inner = [1 + axis for axis in self._axes]
        outer = [axis for axis in range(values.dim()) if axis not in inner]
        flat = values.permute(*inner, *outer).flatten(0, len(inner) - 1).flatten(1)
        return flat[self._indices.to(flat.device)].flatten(1).double()

    def correlations(self) -> Tensor:
        """Pearson correlations, float64 (units of a, units of b); 0 for a constant unit, at any scale."""
        mean_x, mean_y, square_x, square_y, products = (total / self._count for total in self._sums)
        covariance = products - mean_x[:, None] * mean_y
        deviation_x, deviation_y = _deviation(mean_x, square_x)[:, None], _deviation(mean_y, square_y)
        return torch.where((deviation_x > 0) & (deviation_y > 0), covariance / deviation_x / deviation_y, 0.0)


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    """Standard deviations; 0 where rounding alone could make the difference from 0."""
    variance = square - mean.square()
    return torch.where(variance > CONSTANT * square, variance, 0.0).sqrt()


def _activations(
    graph: PermutationGraph, state: Mapping[str, Tensor], images: Tensor, wanted: set[str]
) -> dict[str, Tensor]:
    """Values of nodes of the traced run for each image, by the node's name: (images, *the value's shape)."""
    tensors = [state[name] for name in graph.names]

    def run(image: Tensor) -> dict[str, Tensor]:
        recorder = _Recorder(graph.run, wanted)
        recorder.run(*tensors, image[None])
        return recorder.values

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the others have no batching rule
        values: dict[str, Tensor] = torch.func.vmap(run)(images)
    return values


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps some of its values."""

    def __init__(self, module: fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(module)
        self.values: dict[str, Tensor] = {}
        self._wanted = wanted

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._wanted:
            self.values[n.name] = result.clone()  # a later operation may write in place
        return result
