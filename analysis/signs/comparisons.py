"""Compare many tickets: take each pair from the cache, or else read both tickets, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cache import Cache
from analysis.signs.bits import COUNTS, Comparison, TicketBits, compare, read_ticket
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
    cached = {pair: cache.get(name) for pair, name in names.items()}
    compared = {pair: _from_json(value) for pair, value in cached.items() if value is not None}
    uncached = [pair for pair, value in cached.items() if value is None]
    uses = Counter(chain.from_iterable(uncached))
    paths = files(uses.keys())
    held: dict[str, TicketBits] = {}
    for a, b in uncached:
        for key in (a, b):
            if key not in held:
                held[key] = read_ticket(paths[key])
        try:
            compared[a, b] = comparison = compare(held[a], held[b])
        except ValueError as error:
            raise StoreError(
                f"{paths[a]} and {paths[b]} cannot be compared: {error}; give each network its own store"
            ) from error
        cache.put(names[a, b], _to_json(comparison))
        uses.subtract((a, b))
        for key in {a, b}:
            if not uses[key]:
                del held[key]
    return _table({pair: compared[pair] for pair in names})


def _to_json(comparison: Comparison) -> dict[str, object]:
    return {"tensors": comparison.tensors, "roles": comparison.roles, "counts": comparison.counts.tolist()}


def _from_json(value: dict[str, list[str]]) -> Comparison:
    counts = np.array(value["counts"], np.int64).reshape(-1, len(COUNTS))
    return Comparison(tuple(value["tensors"]), tuple(value["roles"]), counts)


def _table(compared: Mapping[Pair, Comparison]) -> pd.DataFrame:
    sizes = [len(comparison.tensors) for comparison in compared.values()]
    counts = np.concatenate([np.zeros((0, len(COUNTS)), np.int64), *(each.counts for each in compared.values())])
    texts = {
        "key": np.repeat([a for a, _ in compared], sizes) if compared else [],
        "other_key": np.repeat([b for _, b in compared], sizes) if compared else [],
        "tensor": [name for comparison in compared.values() for name in comparison.tensors],
        "role": [role for comparison in compared.values() for role in comparison.roles],
    }
    table = pd.DataFrame(texts, dtype="str")
    return table.assign(**{name: counts[:, column] for column, name in enumerate(COUNTS)})
