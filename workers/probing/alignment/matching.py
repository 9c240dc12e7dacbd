"""Match the units of one network with another's: by weights, or by a similarity of units such as their activations'."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from workers.probing.alignment.graph import PermutationGraph, compose
from workers.probing.alignment.groups import Group

LEAST_GAIN = 1e-9  # of the product of both lengths; below, rounding would decide
MOST_PASSES = 300  # three settle a ResNet-20; a rule that took worse steps would never end


class _Assignment(NamedTuple):
    total: float
    columns: Tensor


def match_weights(
    graph: PermutationGraph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    names: Collection[str],
    generator: torch.Generator,
    beat: Callable[[], None] = lambda: None,
) -> Tensor:
    """Weight matching (Ainsworth et al. 2023, algorithm 1): the permutation of b whose weights are closest to a's.

    The groups are matched one after another in random order, each by a linear assignment with all others as they are,
    until none brings the weights closer. A step whose assignment does not is not taken.

    Args:
        a, b: state dicts.
        names: the tensors to compare, such as all parameters; running statistics only follow.
        generator: CPU generator, for the order.
        beat: called before every group; it may raise to end the matching.

    Returns:
        A permutation for ``graph.permuted``.

    Raises:
        RuntimeError: the matching has not ended after ``MOST_PASSES`` over all groups.
    """
    a = {name: a[name].double() for name in names}
    moved = {name: b[name].double() for name in names}
    enough = LEAST_GAIN * (_inner(a, a) * _inner(moved, moved)) ** 0.5
    permutation = graph.identity
    for _ in range(MOST_PASSES):
        improved = False
        for number in torch.randperm(len(graph.groups), generator=generator).tolist():
            beat()
            group = graph.groups[number]
            step = assigned(graph, group, [_weight_similarity(graph, kind, a, moved) for kind in group.kinds])
            shared = {axis.name for kind in group.kinds for axis in graph.axes_of(kind)} & moved.keys()
            touched = {name: moved[name] for name in shared}
            after = graph.permuted(touched, step)
            if _inner(a, after) - _inner(a, touched) > enough:
                moved |= after
                permutation, improved = compose(step, permutation), True
        if not improved:
            return permutation
    raise RuntimeError(f"weight matching still finds closer weights after {MOST_PASSES:,} passes over all groups")


def assigned(graph: PermutationGraph, group: Group, similarities: Sequence[Tensor]) -> Tensor:
    """The permutation of a group's units with the greatest similarity: units within blocks, and blocks by that.

    Args:
        similarities: for each kind of unit, float64 (units of a, units of b), block after block.
    """
    by_kind = []
    for kind, similarity in zip(group.kinds, similarities, strict=True):
        blocks, size = kind.shape
        by_kind.append(similarity.view(blocks, size, blocks, size).transpose(1, 2).numpy())
    within = [
        [[_assigned(of_kind[row, column]) for of_kind in by_kind] for column in range(group.blocks)]
        for row in range(group.blocks)
    ]
    totals = np.array([[sum(each.total for each in kinds) for kinds in row] for row in within])
    permutation = graph.identity
    for row, column in enumerate(_assigned(totals).columns.tolist()):
        for kind, inner in zip(group.kinds, within[row][column], strict=True):
            permutation[kind[row]] = kind[column][inner.columns]
    return permutation


def _assigned(similarity: npt.NDArray[np.float64]) -> _Assignment:
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return _Assignment(float(similarity[rows, columns].sum()), torch.from_numpy(columns))


def _weight_similarity(
    graph: PermutationGraph, kind: Tensor, a: Mapping[str, Tensor], b: Mapping[str, Tensor]
) -> Tensor:
    units = kind.flatten()
    total = torch.zeros(len(units), len(units), dtype=torch.float64)
    for axis in graph.axes_of(units):
        if axis.name in a:
            total += (axis.slices(a[axis.name], units) @ axis.slices(b[axis.name], units).T).cpu()
    return total


def _inner(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return sum(float((a[name] * tensor).sum()) for name, tensor in b.items())
