"""Compare tickets in memory, by the same definitions as a store's tickets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import combinations, permutations, takewhile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.signs import bits
from analysis.signs.shared import AGREEMENT, OVERLAP, shared

if TYPE_CHECKING:  # a report never loads PyTorch
    from tickets import Ticket

PAIR = ("ticket", "other_ticket")
_WHERE = (*PAIR, "tensor", "in_total", "weights", "density", "other_density")
COLUMNS = (*_WHERE, *OVERLAP, *AGREEMENT, "flipped", "flipped_percent")


def compare(tickets: Mapping[str, Ticket]) -> pd.DataFrame:
    """Measure how far masks and signs of every two tickets agree, over all prunable weights and in each layer.

    A layer that is prunable in one ticket only is dense in the other. It has a row, but no part in the pair's total:
    dense weights would outnumber the survivors, and their overlap is that of chance. Names may differ in a prefix of
    all of a ticket's names, such as "module."; the table has the first ticket's names.

    Args:
        tickets: of one network, by their names in the table.

    Returns:
        ``COLUMNS``, as ``analysis.signs.shared.shared`` defines them, with ``flipped_percent`` of the signed: for each
        pair one row over the layers that are prunable in both, with ``tensor`` missing, then one row per layer that is
        prunable in either, in the network's order; ``in_total`` says whether it is prunable in both.

    Raises:
        ValueError: fewer than two tickets are given, or two tickets are of different networks or share no prunable
            layer; the message names both and the first tensor that differs.
    """
    if len(tickets) < 2:
        raise ValueError("a comparison needs at least two tickets")
    reference = next(iter(tickets.values()))
    tickets = {name: _under_names_of(reference, ticket) for name, ticket in tickets.items()}
    _check_same_network(tickets)
    prunable = {name: ticket.masks.keys() for name, ticket in tickets.items()}
    anywhere = set().union(*prunable.values())
    order = [name for name in reference.tensors if name in anywhere]
    packed = {name: _bits(ticket, order) for name, ticket in tickets.items()}
    frames = []
    for a, b in combinations(packed, 2):
        both, either = prunable[a] & prunable[b], prunable[a] | prunable[b]
        if not both:
            raise ValueError(f"{a} and {b} have no prunable layer in common")
        counts = pd.DataFrame(bits.compare(packed[a], packed[b]), columns=list(bits.COUNTS))
        rows = counts.assign(ticket=a, other_ticket=b, tensor=order, in_total=[name in both for name in order])
        frames.append(rows[rows["tensor"].isin(either)])
    rows = pd.concat(frames, ignore_index=True)
    totals = shared(rows[rows["in_total"]], PAIR).assign(tensor=None, in_total=True)
    table = pd.concat([totals, shared(rows, [*PAIR, "tensor", "in_total"])], ignore_index=True)
    table["tensor"] = table["tensor"].astype("str")
    table["flipped_percent"] = 100 * table["flipped"] / table["signed"]
    place = {pair: number for number, pair in enumerate(combinations(packed, 2))}
    keys = [place[pair] for pair in zip(table["ticket"], table["other_ticket"], strict=True)]
    return table.iloc[np.argsort(keys, kind="stable")].reset_index(drop=True)[list(COLUMNS)]


def _bits(ticket: Ticket, order: Sequence[str]) -> bits.TicketBits:
    tensors = [ticket.tensors[name] for name in order]
    weights = np.array([tensor.sign.numel() for tensor in tensors], np.int64)
    signs = np.concatenate([np.zeros(0, np.int8), *(tensor.sign.numpy().ravel() for tensor in tensors)])
    alive = np.concatenate([np.zeros(0, np.bool_), *(tensor.mask.numpy().ravel() for tensor in tensors)])
    return bits.pack(order, [tensor.role.value for tensor in tensors], weights, signs, alive)


def _under_names_of(reference: Ticket, ticket: Ticket) -> Ticket:
    """Rename a ticket's tensors as in the reference, if the names differ in a common prefix only."""
    prefix, theirs = _prefix(ticket.tensors), _prefix(reference.tensors)
    tensors = {theirs + name.removeprefix(prefix): tensor for name, tensor in ticket.tensors.items()}
    return replace(ticket, tensors=tensors) if tensors.keys() == reference.tensors.keys() else ticket


def _prefix(names: Iterable[str]) -> str:
    """Return the modules that all names begin with, each with its dot."""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return "".join(f"{level[0]}." for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _check_same_network(tickets: Mapping[str, Ticket]) -> None:
    for (a, one), (b, other) in permutations(tickets.items(), 2):
        for name, mask in one.masks.items():
            if name not in other.tensors:
                near = get_close_matches(name, other.tensors, n=3)
                raise ValueError(
                    f"{a} and {b} are not of one network: {b} has no {name}"
                    + (f"; nearest: {', '.join(near)}" if near else "")
                )
            shapes = tuple(mask.shape), tuple(other.tensors[name].mask.shape)
            if shapes[0] != shapes[1]:
                raise ValueError(f"{a} and {b} are not of one network: {name} has shape {shapes[0]} and {shapes[1]}")
