"""Labelled tensors: which unit each element of a value in a network belongs to, and what operations make of this.

A value has coordinates. A coordinate labels each element with a unit, and varies along some axes, its support: a
convolution's output has one, along the channels; in attention, queries have one along heads and dimensions together.
An axis without a coordinate is positional: its elements never move. A symmetry of the network moves the elements of
every value as it moves their units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from workers.probing.alignment.units import FIXED, Units

Support = frozenset[int]
Coordinates = dict[Support, Tensor]


@dataclass(frozen=True)
class Value:
    """A tensor's labels.

    Attributes:
        shape: the tensor's, for one image.
        coordinates: int64 unit numbers, each of as many axes as the tensor and of size 1 along axes outside its
            support. Where supports overlap, their units move in the same blocks over the axes in common.
    """

    shape: tuple[int, ...]
    coordinates: tuple[Tensor, ...] = ()

    @property
    def positional(self) -> Support:
        """Axes along which elements differ and belong to no unit."""
        labelled = {axis for label in self.coordinates for axis in support(label)}
        return frozenset(axis for axis, size in enumerate(self.shape) if size > 1) - labelled


def support(label: Tensor) -> Support:
    """The axes along which a compact label varies."""
    return frozenset(axis for axis, size in enumerate(label.shape) if size > 1)


def compact(label: Tensor) -> Tensor:
    """A label without the copies along axes on which it is constant."""
    for axis, size in enumerate(label.shape):
        if size > 1:
            first = label.narrow(axis, 0, 1)
            if label.stride(axis) == 0 or bool((label == first).all()):
                label = first
    return label


def settled(units: Units, value: Value) -> Value:
    """A value with the labels that the ties so far leave it, without those that are fixed."""
    labels = [compact(units.find(label)) for label in value.coordinates]
    for label in labels:
        if label.numel() == 1:
            units.fix(label, "only one unit is left")
    return Value(value.shape, tuple(label for label in labels if label.numel() > 1 and bool((label != FIXED).any())))


def separated(units: Units, value: Value) -> Value:
    """A settled value, whose coordinates are fixed where they overlap and no common blocks are known."""
    while True:
        value = settled(units, value)
        for a, b in combinations(value.coordinates, 2):
            common = support(a) & support(b)
            blocks = [known_blocks(units, label, common) for label in (a, b)]
            if common and (blocks[0] is None or blocks[1] is None or not torch.equal(blocks[0], blocks[1])):
                units.fix(a, "two symmetries share an axis")
                units.fix(b, "two symmetries share an axis")
                break
        else:
            return value


def known_blocks(units: Units, label: Tensor, axes: Support) -> Tensor | None:
    """The units of the blocks, one for each index along some axes, in which a label's units are known to move."""
    parents = compact(units.parents_of(label))
    known = bool(axes) and support(parents) == axes and len(parents.unique()) == parents.numel()
    return parents if known and not bool((parents == FIXED).any()) else None


def product(units: Units, values: Sequence[Value]) -> tuple[tuple[int, ...], Coordinates]:
    """Combine values element by element, broadcasting as torch does: the rule of sums, products and activations.

    Coordinates of equal support are tied. Where one value is positional along another's support, units are fixed. Where
    supports overlap otherwise, units move in blocks over the axes in common.

    Returns:
        The shape, and the coordinates by support, of which one may contain another: then it moves in that one's blocks.
    """
    rank = max(len(value.shape) for value in values)
    values = [_of_rank(value, rank) for value in values]
    changed = True
    while changed:
        changed = False
        values = [settled(units, value) for value in values]
        coordinates: Coordinates = {}
        for label in (label for value in values for label in value.coordinates):
            changed |= units.tie(coordinates.setdefault(support(label), label), label)
        for value in values:
            for axes in [axes for axes in coordinates if axes <= value.positional]:
                changed |= units.fix(coordinates[axes], "it meets values that cannot move")
    _close(units, coordinates)
    for large, small in _nested(coordinates):
        _relate(units, coordinates[large], coordinates[small], small)
    for axes, label in [*coordinates.items()]:
        for common in {axes & value.positional for value in values} - {frozenset()}:
            units.relate(label, _over(units, label, common), pinned=True)
    units.uses.extend(coordinates.values())
    shape = torch.broadcast_shapes(*(value.shape for value in values))
    return tuple(shape), coordinates


def keep_blocks(units: Units, coordinates: Coordinates, reduced: Support) -> None:
    """Where an operation mixes elements along some axes, keep a coordinate's blocks over its other axes together."""
    for axes, label in [*coordinates.items()]:
        blocks = axes - reduced
        if not axes & reduced or not blocks:
            continue
        if blocks not in coordinates:
            coordinates[blocks] = _blocks(units, label, blocks)
        _relate(units, label, coordinates[blocks], blocks)


def largest(coordinates: Coordinates) -> tuple[Tensor, ...]:
    """The coordinates that no other contains; those that it contains are known as its blocks."""
    inner = {small for _, small in _nested(coordinates)}
    return tuple(label for axes, label in coordinates.items() if axes not in inner)


def contract(
    units: Units, values: Sequence[Value], axes: Sequence[Sequence[int]], out: Sequence[int], shape: Iterable[int]
) -> Value:
    """Multiply values and sum over the axes that the result lacks, as ``einsum`` does.

    Args:
        axes: for each value, the numbers of its axes in the product of all.
        out: the numbers of the result's axes.
        shape: the result's.
    """
    rank = 1 + max(max(numbers) for numbers in axes)
    spread = [_spread(value, numbers, rank) for value, numbers in zip(values, axes, strict=True)]
    _, coordinates = product(units, spread)
    reduced = frozenset(range(rank)) - frozenset(out)
    keep_blocks(units, coordinates, reduced)
    kept = {support_: label for support_, label in coordinates.items() if not support_ & reduced}
    order = [*out, *sorted(reduced)]
    labels = (label.permute(order).reshape([label.shape[axis] for axis in out]) for label in largest(kept))
    return settled(units, Value(tuple(shape), tuple(labels)))


def _of_rank(value: Value, rank: int) -> Value:
    ones = (1,) * (rank - len(value.shape))
    return Value((*ones, *value.shape), tuple(label.view(*ones, *label.shape) for label in value.coordinates))


def _spread(value: Value, numbers: Sequence[int], rank: int) -> Value:
    def place(sizes: Sequence[int]) -> tuple[int, ...]:
        placed = [1] * rank
        for number, size in zip(numbers, sizes, strict=True):
            placed[number] = size
        return tuple(placed)

    order = sorted(range(len(numbers)), key=lambda axis: numbers[axis])
    labels = (label.permute(order).reshape(place(label.shape)) for label in value.coordinates)
    return Value(place(value.shape), tuple(labels))


def _nested(coordinates: Coordinates) -> list[tuple[Support, Support]]:
    return [(large, small) for large in coordinates for small in coordinates if small < large]


def _close(units: Units, coordinates: Coordinates) -> None:
    """Add coordinates until every two supports that overlap have a coordinate of their common axes."""
    while True:
        common = {a & b for a, b in combinations(coordinates, 2)} - {frozenset()} - coordinates.keys()
        if not common:
            return
        axes = min(common, key=sorted)
        label = next(label for over, label in coordinates.items() if axes < over)
        coordinates[axes] = _blocks(units, label, axes)


def _relate(units: Units, children: Tensor, parents: Tensor, axes: Support) -> None:
    known = known_blocks(units, children, axes)
    if known is not None:
        units.tie(known, parents)
    units.relate(children, parents)


def _blocks(units: Units, label: Tensor, axes: Support) -> Tensor:
    known = known_blocks(units, label, axes)
    return _over(units, label, axes) if known is None else known


def _over(units: Units, label: Tensor, axes: Support) -> Tensor:
    """New units along some axes of a label."""
    return units.fresh(*(size if axis in axes else 1 for axis, size in enumerate(label.shape)))
