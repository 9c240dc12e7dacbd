"""Translate a ticket between the names, and the orders of columns, of two networks that compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from typing import Literal

import torch
from torch import Tensor

from tickets.errors import TicketError
from tickets.roles import Role
from tickets.signed import SignedTensor
from tickets.ticket import Ticket


@dataclass(frozen=True)
class Columns:
    """The order of a weight's columns, its second dimension, as axes from the slowest to the fastest.

    Attributes:
        sizes: the length of each axis; their product is the number of columns.
        old, new: names of all axes, in the order before and after.
    """

    sizes: Mapping[str, int]
    old: Sequence[str]
    new: Sequence[str]

    @property
    def inverse(self) -> Columns:
        """The way back."""
        return Columns(self.sizes, self.new, self.old)

    def reordered(self, weight: Tensor) -> Tensor:
        """Reorder the columns of a weight of shape (outputs, columns)."""
        axes = weight.view(-1, *(self.sizes[axis] for axis in self.old))
        return axes.permute(0, *(1 + self.old.index(axis) for axis in self.new)).reshape(weight.shape)


@dataclass(frozen=True)
class NameMap:
    """A translation from old names to new ones. ``reading`` describes the files that these are read from.

    Attributes:
        title: the map in messages: a file, or the name of a built-in map.
        layers: new names of layers and tensors by old names. A layer stands for all tensors below it.
        within: new names by old names of what follows one of these layers. If there are any, each name of more than one
            part must be among them.
        columns: by new names.
        dropped: shapes of the old network's tensors that the new one lacks, since no forward pass uses them.
        added: shapes of the new network's tensors that the old one lacks; all of their weights are pruned.
        towards: whose names the new ones are.
    """

    title: str
    layers: Mapping[str, str]
    within: Mapping[str, str]
    columns: Mapping[str, Columns]
    dropped: Mapping[str, Sequence[int]]
    added: Mapping[str, Sequence[int]]
    towards: Literal["ours", "theirs"] = "ours"

    @property
    def inverse(self) -> NameMap:
        """The way back."""
        layers, within = ({new: old for old, new in rules.items()} for rules in (self.layers, self.within))
        towards: Literal["ours", "theirs"] = "theirs" if self.towards == "ours" else "ours"
        back = NameMap(self.title, layers, within, {}, self.added, self.dropped, towards)
        columns = {(back.new_name(name) or name): columns.inverse for name, columns in self.columns.items()}
        return replace(back, columns=columns)

    def new_name(self, name: str) -> str | None:
        """The new name of a tensor; None if the map has no rule for it."""
        split = _split(name, self.layers)
        if split is None:
            return None
        layer, rest = split
        inner = _split(rest, self.within)
        if inner is not None:
            rest = _join(self.within[inner[0]], inner[1])
        elif self.within and "." in rest:
            return None
        return _join(self.layers[layer], rest)

    def covered(self, ticket: Ticket) -> int:
        """The number of a ticket's tensors for which the map has a rule."""
        return sum(name in self.dropped or self.new_name(name) is not None for name in ticket.tensors)

    def translated(self, ticket: Ticket) -> Ticket:
        """The ticket under the new names.

        Raises:
            TicketError: a tensor has no rule, a rule has no tensor, two tensors would have one name, or the columns of
                a weight are not those of the map.
        """
        kept = {name: tensor for name, tensor in ticket.tensors.items() if name not in self.dropped}
        new_names = self._new_names(kept)
        tensors = {name: _pruned(name, shape) for name, shape in self.added.items()}
        for name, tensor in kept.items():
            new = new_names[name]
            if new in tensors:
                other = next((each for each in kept if new_names[each] == new), new)
                raise TicketError(f"{self.title}: {other} and {name} would both be called {new}; rename one of them")
            tensors[new] = self._reordered(new, tensor)
        if missing := [name for name in self.columns if name not in tensors]:
            raise TicketError(f"{self.title}: no tensor is called {missing[0]}, of which columns has an order")
        translated = replace(ticket, tensors=tensors)
        if self.added or self.dropped:
            translated = replace(translated, provenance=replace(ticket.provenance, density=translated.density))
        return translated

    def _new_names(self, names: Mapping[str, SignedTensor]) -> dict[str, str]:
        new_names = {}
        for name in names:
            new = self.new_name(name)
            if new is None:
                raise TicketError(
                    f'{self.title} has no rule for {name}; every tensor needs one: "{name}: {name}" keeps its name'
                )
            new_names[name] = new
        used = {split[0] for name in names if (split := _split(name, self.layers))}
        if unused := [layer for layer in self.layers if layer not in used]:
            near = get_close_matches(unused[0], names, n=1)
            nearest = f"; nearest: {near[0]}" if near else ""
            raise TicketError(f"{self.title}: the ticket has no {unused[0]}; correct or remove this rule{nearest}")
        return new_names

    def _reordered(self, name: str, tensor: SignedTensor) -> SignedTensor:
        columns = self.columns.get(name)
        if columns is None:
            return tensor
        shape, expected = tuple(tensor.sign.shape), prod(columns.sizes.values())
        if len(shape) != 2 or shape[1] != expected:
            raise TicketError(f"{self.title}: {name} has shape {shape}, and its axes need {expected:,} columns")
        return replace(tensor, sign=columns.reordered(tensor.sign), mask=columns.reordered(tensor.mask))


def _split(name: str, rules: Mapping[str, str]) -> tuple[str, str] | None:
    """The longest rule that is the name or its beginning, and the rest of the name; None if there is no such rule."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        beginning = ".".join(parts[:end])
        if beginning in rules:
            return beginning, ".".join(parts[end:])
    return None


def _join(first: str, rest: str) -> str:
    return f"{first}.{rest}" if rest else first


def _pruned(name: str, shape: Sequence[int]) -> SignedTensor:
    """A tensor that no forward pass uses: every weight pruned, or a normalization's scale of 1 or shift of 0."""
    if len(shape) > 1:
        pruned = torch.zeros(*shape, dtype=torch.int8)
        return SignedTensor(Role.PRUNABLE, pruned, pruned.bool())
    whole = torch.ones(*shape, dtype=torch.int8)
    return SignedTensor(Role.NORMALIZATION, whole if name.endswith("weight") else 0 * whole, whole.bool())
