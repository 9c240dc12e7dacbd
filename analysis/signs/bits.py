"""Tickets as planes of bits: 24 M weights take 9 MB, and comparing two tickets takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestrator.store import StoreError
from tickets.errors import TicketError
from tickets.files.columns import read_columns

WORD = 64
COUNTS = (
    "weights",
    "alive",
    "other_alive",
    "common",
    "both_positive",
    "positive_negative",
    "negative_positive",
    "both_negative",
)


@dataclass(frozen=True, eq=False)
class TicketBits:
    """The signs and the mask of every tensor; each tensor begins a new word.

    Attributes:
        tensors, roles: names and roles, in the network's order.
        weights: number of weights of each tensor; shape (tensors,), int64.
        starts: each tensor's first word; shape (tensors,), int64.
        alive, positive, negative: bits, 0 beyond a tensor's end; shape (words,), uint64. A surviving weight that is
            exactly 0 is alive, and neither positive nor negative.
    """

    tensors: tuple[str, ...]
    roles: tuple[str, ...]
    weights: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    alive: npt.NDArray[np.uint64]
    positive: npt.NDArray[np.uint64]
    negative: npt.NDArray[np.uint64]


def read_ticket(path: Path) -> TicketBits:
    """Read a ``ticket.parquet`` without making Python objects of its signs.

    Raises:
        StoreError: the file is no ticket.
    """
    try:
        columns = read_columns(path)
    except TicketError as error:
        raise StoreError(str(error)) from error
    return pack(columns.names, columns.roles, columns.sizes, columns.sign, columns.mask)


def pack(
    names: Sequence[str],
    roles: Sequence[str],
    weights: npt.NDArray[np.int64],
    signs: npt.NDArray[np.integer],
    alive: npt.NDArray[np.bool_],
) -> TicketBits:
    """Pack a ticket's signs and mask into bits.

    Args:
        weights: number of weights of each tensor; shape (tensors,).
        signs, alive: all tensors, concatenated; shape (sum of weights,).
    """
    words = np.maximum(-(-weights // WORD), 1)  # an empty tensor has a word too, for reduceat
    ends = np.cumsum(words)
    starts = ends - words
    padded = np.zeros(int(words.sum()) * WORD, np.int8)
    kept = np.zeros(padded.size, np.bool_)
    first = 0
    for start, count in zip(starts * WORD, weights, strict=True):
        padded[start : start + count] = signs[first : first + count]
        kept[start : start + count] = alive[first : first + count]
        first += count
    return TicketBits(tuple(names), tuple(roles), weights, starts, _pack(kept), _pack(padded > 0), _pack(padded < 0))


def compare(a: TicketBits, b: TicketBits) -> npt.NDArray[np.int64]:
    """Count what two tickets share; compare a ticket with itself for its own counts.

    Returns:
        Shape (tensors, 8), with the columns ``COUNTS``: all weights; weights alive in the first, in the other, and in
        both ("common"); and common weights with a sign in both, by the first's and the other's.

    Raises:
        ValueError: the tickets are of different networks.
    """
    if a.tensors != b.tensors or not np.array_equal(a.weights, b.weights):
        raise ValueError("their tensors differ in name or size")
    planes = (
        a.alive,
        b.alive,
        a.alive & b.alive,
        a.positive & b.positive,
        a.positive & b.negative,
        a.negative & b.positive,
        a.negative & b.negative,
    )
    counts = [a.weights, *(_ones(plane, a.starts) for plane in planes)]
    return np.stack(counts, axis=1)


def _pack(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    return np.packbits(bits).view(np.uint64)


def _ones(plane: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the set bits of each tensor; shape (tensors,)."""
    if not starts.size:
        return np.zeros(0, np.int64)
    return np.add.reduceat(np.bitwise_count(plane), starts, dtype=np.int64)
