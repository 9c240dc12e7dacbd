"""From tied and related units to groups: sets of units of which any two may be exchanged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workers.probing.alignment.units import FIXED, Units

Colour = tuple[int, ...]
Related = Mapping[int, Mapping[int, set[int]]]
_Mixed = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Group:
    """Units of which any two of a kind may be exchanged within their block, and blocks that may be exchanged as wholes.

    A plain group, such as the channels of a residual stream, has one block and one kind. The heads of an attention
    layer are the blocks of one group with two kinds of units: dimensions of queries and keys, and those of values.

    Attributes:
        kinds: unit numbers by kind, each int64 (blocks, units of this kind in a block).
    """

    kinds: tuple[Tensor, ...]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.kinds[0])

    @property
    def units(self) -> Tensor:
        """All unit numbers, int64 (units,), kind by kind."""
        return torch.cat([kind.flatten() for kind in self.kinds])


def exchangeable(units: Units, movable: Collection[int]) -> list[Group]:
    """The groups of a traced network, in the order of their first units.

    Units are exchanged if the same operations read them equally often, in the same blocks. Blocks are exchanged if they
    have equally many units of each kind, all of them can move, and none is in two sorts of blocks.

    Args:
        movable: numbers of the units that some parameter has, as ``Units.find`` gives them.
    """
    uses, related = _signatures(units), _related(units)
    still = _still(units, related)

    def colour(unit: int) -> Colour:
        blocks = {block for parent, own in related[unit].items() if parent in still for block in own}
        return (int(uses[unit]), *sorted(blocks))

    children: dict[int, list[int]] = defaultdict(list)
    for child, parents in sorted(related.items()):
        for parent in parents.keys() - still:
            children[parent].append(child)
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for parent, own in sorted(children.items()):
        kinds = Counter(colour(child) for child in own)
        alike[(colour(parent), *sorted(kinds.items()))].append(parent)
    blocks = [[[[parent], *_by_colour(children[parent], colour)] for parent in parents] for parents in alike.values()]
    inside = {*children, *(child for own in children.values() for child in own)}
    alone = sorted({*movable} - inside - still)
    plain = [[[kind]] for kind in _by_colour(alone, colour)]
    groups = [group for each in [*blocks, *plain] for group in _groups(each, movable)]
    return sorted(groups, key=lambda group: int(group.units.min()))


def _by_colour(units: Iterable[int], colour: Callable[[int], Colour]) -> list[list[int]]:
    kinds: dict[Colour, list[int]] = defaultdict(list)
    for unit in units:
        kinds[colour(unit)].append(unit)
    return [kinds[each] for each in sorted(kinds)]


def _groups(blocks: list[list[list[int]]], movable: Collection[int]) -> list[Group]:
    """The groups of blocks that are alike; kinds that no parameter has, and single units of one block, do not move."""
    kinds = [torch.tensor(kind) for kind in zip(*blocks, strict=True)]
    kinds = sorted((kind for kind in kinds if int(kind[0, 0]) in movable), key=lambda kind: int(kind[0, 0]))
    if len(blocks) > 1:
        return [Group(tuple(kinds))] if kinds else []
    return [Group((kind,)) for kind in kinds if kind.numel() > 1]


def _related(units: Units) -> Related:
    """Blocks of each unit by the block's parent, by unit."""
    related: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for relation in units.relations:
        children, parents = (units.roots(each).tolist() for each in (relation.children, relation.parents))
        for child, parent, block in {*zip(children, parents, relation.blocks.tolist(), strict=True)}:
            related[child][parent].add(block)
    return related


def _still(units: Units, related: Related) -> set[int]:
    """The parents of blocks that cannot be exchanged."""
    pinned = (units.roots(relation.parents).tolist() for relation in units.relations if relation.pinned)
    still = {parent for parents in pinned for parent in parents} | {FIXED}
    for child, parents in related.items():
        if child == FIXED or len(parents) > 1:
            still |= parents.keys()
    return still | {parent for parents in [*related.values()] for parent in parents if parent in related}


def _signatures(units: Units) -> _Mixed:
    """For each unit, a number that two units share if the same operations read them equally often."""
    signature = np.zeros(units.count, np.uint64)
    for number, label in enumerate(units.uses, 1):
        members, times = np.unique(units.roots(label.numpy().ravel()), return_counts=True)
        use = _mix(np.uint64(number) * np.uint64(1 << 32) + times.astype(np.uint64))
        signature[members] = _mix(signature[members] + use)
    return signature


def _mix(numbers: _Mixed) -> _Mixed:
    """SplitMix64's finaliser (Steele et al. 2014): different numbers get unrelated ones."""
    with np.errstate(over="ignore"):
        numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return numbers ^ (numbers >> np.uint64(31))
