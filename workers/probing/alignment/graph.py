"""A network's permutation symmetries, and permuted copies of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from workers.probing.alignment.groups import Group


@dataclass(frozen=True)
class Axis:
    """Units along one axis of a tensor.

    Attributes:
        name: the tensor's.
        axis: number of the axis.
        units: unit number at each index, int64 (blocks, indices); ``FIXED`` does not move. Equal blocks of rows have
            units of their own along axis 1 of a grouped convolution's weight; otherwise there is one block. A unit may
            have several indices: after a flattening, a channel has one for each position.
    """

    name: str
    axis: int
    units: Tensor

    @cached_property
    def places(self) -> Tensor:
        """How often the unit at each index occurred before in its block, int64 (blocks, indices)."""
        order = torch.argsort(self.units, dim=1, stable=True)
        in_order = self.units.gather(1, order)
        first = torch.searchsorted(in_order, in_order)
        return torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]) - first)

    def sources(self, permutation: Tensor) -> Tensor:
        """The index that each index of a permuted tensor comes from, int64 (blocks, indices)."""
        wanted, places = permutation[self.units], self.places
        index_of = torch.full((len(self.units), len(permutation), int(places.max()) + 1), -1)
        rows = torch.arange(len(self.units))[:, None]
        index_of[rows, self.units, places] = torch.arange(self.units.shape[1]).expand_as(self.units)
        own = index_of[rows, wanted, places]
        return torch.where(own >= 0, own, index_of.amax(0)[wanted, places])  # else a whole block has moved here

    def permuted(self, tensor: Tensor, permutation: Tensor) -> Tensor:
        """Permute a tensor along this axis; blocks of rows have moved before, with axis 0."""
        if torch.equal(permutation[self.units], self.units):
            return tensor
        sources = self.sources(permutation).to(tensor.device)
        blocks = zip(tensor.chunk(len(sources)), sources, strict=True)
        return torch.cat([block.index_select(self.axis, source) for block, source in blocks])

    def slices(self, tensor: Tensor, units: Tensor) -> Tensor:
        """What a tensor holds at some of the axis's units, (units, elements of one unit)."""
        blocks = tensor.view(len(self.units), -1, *tensor.shape[1:])
        by_index = blocks.movedim(self.axis + 1, 1).reshape(self.units.numel(), -1)
        flat = self.units.flatten()
        order = torch.argsort(flat, stable=True)
        first = torch.searchsorted(flat[order], units)
        times = int((flat == units[0]).sum())
        return by_index[order[first[:, None] + torch.arange(times)].to(tensor.device)].flatten(1)


@dataclass(frozen=True)
class Reading:
    """A value that an operation with weights reads: the activations of units.

    Attributes:
        node: the value's node in the traced run.
        units: unit numbers, int64, of as many axes as the value for one image and of size 1 along axes without units.
    """

    node: str
    units: Tensor


@dataclass(frozen=True)
class PermutationGraph:
    """Which units of a network may be exchanged without changing the function that it computes.

    A permutation is an int64 tensor (count,): unit i of the permuted network is unit ``permutation[i]`` of the given
    one.

    Attributes:
        count: number of unit numbers; ``FIXED`` is one of them.
        groups: the units that may be exchanged.
        axes: the units along the axes of parameters and floating-point buffers.
        fixed: why an axis does not move, by tensor name and axis, for axes of more than one index.
        readings: activations by unit.
        run: the traced run, a function of the tensors by name and one batch of one image.
        names: the tensors, in the order of the run's arguments.
    """

    count: int
    groups: tuple[Group, ...]
    axes: tuple[Axis, ...]
    fixed: Mapping[tuple[str, int], str]
    readings: tuple[Reading, ...]
    run: fx.GraphModule
    names: tuple[str, ...]

    @property
    def identity(self) -> Tensor:
        """The permutation that moves nothing."""
        return torch.arange(self.count)

    def axes_of(self, kind: Tensor) -> list[Axis]:
        """The axes along which the units of one kind of a group lie: all of these units, or none."""
        first = int(kind.flatten()[0])
        return [axis for axis in self.axes if bool((axis.units == first).any())]

    def drawn(self, generator: torch.Generator) -> Tensor:
        """Draw a permutation of every group, uniformly."""
        permutation = self.identity
        for group in self.groups:
            blocks = torch.randperm(group.blocks, generator=generator)
            for kind in group.kinds:
                for block, source in zip(kind, kind[blocks], strict=True):
                    permutation[block] = source[torch.randperm(len(source), generator=generator)]
        return permutation

    def permuted(self, tensors: Mapping[str, Tensor], permutation: Tensor) -> dict[str, Tensor]:
        """Permute tensors by name, such as a state dict, masks or signs; tensors without units are passed through."""
        moved = dict(tensors)
        for axis in self.axes:
            if axis.name in moved:
                moved[axis.name] = axis.permuted(moved[axis.name], permutation)
        return moved

    def moved_share(self, permutation: Tensor) -> float:
        """Share of the units in groups that a permutation moves."""
        units = torch.cat([group.units for group in self.groups]) if self.groups else torch.empty(0, dtype=torch.int64)
        return float((permutation[units] != units).double().mean()) if len(units) else 0.0


def compose(after: Tensor, before: Tensor) -> Tensor:
    """The permutation of permuting by ``before`` and then by ``after``."""
    return before[after]


def inverse(permutation: Tensor) -> Tensor:
    """The permutation that undoes a permutation."""
    return torch.argsort(permutation)
