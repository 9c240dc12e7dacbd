"""Compare many tickets: take each pair from the cache, or else read both tickets, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.cache import Cache
from analysis.signs.bits import COUNTS, TicketBits, compare, read_ticket
from orchestrator.store import StoreError

Pair = tuple[str, str]


def comparisons(
    pairs: Sequence[Pair],
    contents: Mapping[str, str],
    files: Callable[[Collection[str]], Mapping[str, Path]],
    cache: Cache,
) -> pd.DataFrame:
    """Count what the tickets of each pair have in common, tensor by tensor.

    Args:
        pairs: stage keys. A ticket is held from its first pair to its last, so keep pairs that share a ticket close.
        contents: digest of each ticket's file, by key. It is part of a pair's name in the cache: two machines round
            differently, and so can make two tickets of one key.
        files: returns the tickets' paths by key; called only for tickets of pairs that are not in the cache.
        cache: of kind "tickets".

    Returns:
        One row per pair and tensor: ``key``, ``other_key``, ``tensor``, ``role`` and ``analysis.signs.bits.COUNTS``.

    Raises:
        StoreError: a file is no ticket, or the tickets of a pair are of different networks.
    """
    names = {(a, b): f"{a}:{contents[a]} {b}:{contents[b]}" for a, b in pairs}
    compared: dict[Pair, Any] = {pair: cache.get(name) for pair, name in names.items()}
    uncached = [pair for pair, value in compared.items() if value is None]
    uses = Counter(chain.from_iterable(uncached))
    paths = files(uses.keys())
    held: dict[str, TicketBits] = {}
    for a, b in uncached:
        for key in (a, b):
            if key not in held:
                held[key] = read_ticket(paths[key])
        try:
            counts = compare(held[a], held[b]).tolist()
        except ValueError as error:
            raise StoreError(
                f"{paths[a]} and {paths[b]} cannot be compared: {error}; give each network its own store"
            ) from error
        compared[a, b] = {"tensors": held[a].tensors, "roles": held[a].roles, "counts": counts}
        cache.put(names[a, b], compared[a, b])
        uses.subtract((a, b))
        for key in {a, b}:
            if not uses[key]:
                del held[key]
    return _table(compared)


def _table(compared: Mapping[Pair, Any]) -> pd.DataFrame:
    sizes = [len(each["tensors"]) for each in compared.values()]
    counts = np.array([*chain.from_iterable(each["counts"] for each in compared.values())], np.int64)
    texts = {
        "key": np.repeat([a for a, _ in compared], sizes) if compared else [],
        "other_key": np.repeat([b for _, b in compared], sizes) if compared else [],
        "tensor": [name for each in compared.values() for name in each["tensors"]],
        "role": [role for each in compared.values() for role in each["roles"]],
    }
    counted = pd.DataFrame(counts.reshape(-1, len(COUNTS)), columns=list(COUNTS))
    return pd.concat([pd.DataFrame(texts, dtype="str"), counted], axis=1)
