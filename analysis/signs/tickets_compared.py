"""Tickets in memory compared with each other, by the counts and definitions that a store's tickets are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.signs import bits
from analysis.signs.shared import shared

if TYPE_CHECKING:  # a report never loads PyTorch
    from tickets import Ticket

PAIR = ("ticket", "other_ticket")
COLUMNS = (
    *PAIR,
    "tensor",
    "weights",
    "density",
    "other_density",
    "common",
    "union",
    "overlap_percent",
    "chance_overlap_percent",
    "signed",
    "equal",
    "agreement_percent",
    "chance_agreement_percent",
    "flipped",
    "flipped_percent",
)


def compare(tickets: Mapping[str, Ticket]) -> pd.DataFrame:
    """How far the masks and signs of every two tickets agree, over all prunable weights and in each layer.

    Args:
        tickets: by the names that they have in the table; of one network.

    Returns:
        ``COLUMNS``, as ``analysis.signs.shared.shared`` defines them, with ``flipped_percent`` of the signed: for each
        pair a row over all layers, whose ``tensor`` is missing, and then one per layer in the network's order.

    Raises:
        ValueError: there are fewer than two tickets, or two are of different networks; the message names both and
            the first tensor that differs.
    """
    if len(tickets) < 2:
        raise ValueError("a comparison needs two tickets or more")
    first, reference = next(iter(tickets.items()))
    for name, ticket in tickets.items():
        _check_same_network(first, reference, name, ticket)
    order = [name for name in reference.tensors if name in reference.masks]
    packed = {name: _bits(ticket, order) for name, ticket in tickets.items()}
    frames = []
    for a, b in combinations(packed, 2):
        counts = pd.DataFrame(bits.compare(packed[a], packed[b]).counts, columns=list(bits.COUNTS))
        frames.append(counts.assign(ticket=a, other_ticket=b, tensor=order))
    rows = pd.concat(frames, ignore_index=True)
    totals = shared(rows, PAIR).assign(tensor=None)
    table = pd.concat([totals, shared(rows, [*PAIR, "tensor"])], ignore_index=True)
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


def _check_same_network(a: str, first: Ticket, b: str, second: Ticket) -> None:
    shapes, others = ({n: tuple(m.shape) for n, m in ticket.masks.items()} for ticket in (first, second))
    for one, these, other, those in ((a, shapes, b, others), (b, others, a, shapes)):
        for name, shape in these.items():
            if name not in those:
                near = get_close_matches(name, those, n=3)
                raise ValueError(
                    f"{one} and {other} are not of one network: {other} has no prunable {name}"
                    + (f"; nearest: {', '.join(near)}" if near else "")
                )
            if those[name] != shape:
                raise ValueError(
                    f"{one} and {other} are not of one network: {name} has shape {shape} and {those[name]}"
                )
