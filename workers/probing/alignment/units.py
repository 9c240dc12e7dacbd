"""Units: what a symmetry of a network moves, such as one channel, one hidden neuron or one attention head.

Tracing begins with one unit for every index of every axis of every parameter. Rules tie units that must move together,
fix units that cannot move, and relate units to the block in which they move, such as a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

FIXED = 0
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Relation:
    """Children that stay together in a block: whole blocks may be exchanged, and children within their block.

    Attributes:
        children, parents: unit numbers, int64 (n,); the parent of a child moves with its block.
        blocks: number of each child's block, unique over all relations.
        pinned: whether the blocks cannot be exchanged.
    """

    children: Numbers
    parents: Numbers
    blocks: Numbers
    pinned: bool


class Units:
    """All units of a network, as a union-find structure; the unit ``FIXED`` stands for all that cannot move.

    Attributes:
        relations: blocks of units, in the order of tracing.
        uses: labels of the tensors that an operation read together, in the order of tracing. Units exchange only with
            units of the same uses.
    """

    def __init__(self) -> None:
        self.relations: list[Relation] = []
        self.uses: list[Tensor] = []
        self._reasons: list[str] = [""]
        self._reason = np.zeros(1, np.int64)
        self._root = np.zeros(1, np.int64)
        self._parent = np.zeros(1, np.int64)
        self._blocks = 0

    def fresh(self, *shape: int) -> Tensor:
        """Make new units: their numbers, int64, in this shape."""
        first, count = len(self._root), int(np.prod(shape))
        numbers = np.arange(first, first + count)
        self._root = np.concatenate([self._root, numbers])
        self._parent = np.concatenate([self._parent, np.zeros(count, np.int64)])
        self._reason = np.concatenate([self._reason, np.zeros(count, np.int64)])
        return torch.from_numpy(numbers).view(shape)

    @property
    def count(self) -> int:
        """Number of unit numbers."""
        return len(self._root)

    def roots(self, numbers: Numbers) -> Numbers:
        """The unit that stands for each unit and all that are tied to it."""
        return self._root[numbers]

    def reason(self, labels: Tensor) -> str:
        """Why some of these units cannot move."""
        reasons = self._reason[labels.reshape(-1).numpy()]
        return self._reasons[int(reasons.max())] or "no other unit is like it"

    def find(self, labels: Tensor) -> Tensor:
        """The unit that stands for each unit and all that are tied to it."""
        return torch.from_numpy(self._root[labels.numpy()])

    def tie(self, a: Tensor, b: Tensor) -> bool:
        """Let the units of two tensors of one shape move together, element by element; whether this is news."""
        a, b = torch.broadcast_tensors(a, b)
        x, y = (self._root[each.reshape(-1).numpy()] for each in (a, b))
        if not (news := x != y).any():
            return False
        roots, ends = np.unique(np.stack([x[news], y[news]]), return_inverse=True)
        ends = ends.reshape(2, -1)
        edges = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(len(roots),) * 2)
        count, component = connected_components(edges, directed=False)
        lowest = np.full(count, len(self._root), np.int64)
        np.minimum.at(lowest, component, roots)  # FIXED is the lowest of all
        target = np.arange(len(self._root))
        target[roots] = lowest[component]
        known = roots[self._parent[roots] != 0]
        self._parent[target[known]] = self._parent[known]
        self._root = target[self._root]
        return True

    def fix(self, labels: Tensor, reason: str) -> bool:
        """Let units never move; whether this is news."""
        roots = np.unique(self._root[labels.reshape(-1).numpy()])
        self._reason[np.isin(self._root, roots[roots != FIXED])] = len(self._reasons)
        self._reasons.append(reason)
        return self.tie(labels, torch.tensor(FIXED))

    def relate(self, children: Tensor, parents: Tensor, *, pinned: bool = False) -> None:
        """Let children move in blocks, one block for each element of ``parents``.

        Args:
            children: unit numbers.
            parents: unit numbers; its shape is that of the children, with 1 along the axes within a block.
        """
        numbers = torch.arange(self._blocks, self._blocks + parents.numel()).view(parents.shape)
        self._blocks += parents.numel()
        flat = [each.expand(children.shape).reshape(-1).numpy() for each in (children, parents, numbers)]
        self.relations.append(Relation(flat[0], flat[1], flat[2], pinned))
        self._parent[self._root[flat[0]]] = flat[1]

    def parents_of(self, children: Tensor) -> Tensor:
        """The unit of the block that each unit was last related to; FIXED if there is none."""
        return self.find(torch.from_numpy(self._parent[self._root[children.numpy()]]))
