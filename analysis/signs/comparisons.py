"""Comparisons of many tickets: from the cache, or else from the tickets, each of which is read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.signs.bits import COUNTS, Comparison, TicketBits, compare, read_ticket
from analysis.signs.cache import ComparisonCache
from orchestrator.store import StoreError

Pair = tuple[str, str]


def comparisons(
    pairs: Sequence[Pair],
    contents: Mapping[str, str],
    files: Callable[[Collection[str]], Mapping[str, Path]],
    cache: ComparisonCache,
) -> pd.DataFrame:
    """Compare tickets.

    Args:
        pairs: of stage keys. A ticket is held from its first pair to its last, so pairs that share tickets belong
            near to each other.
        contents: digest of each ticket's file, by key.
        files: where the tickets of some keys are; asked only for those that the cache does not spare.

    Returns:
        One row per pair and tensor: ``key``, ``other_key``, ``tensor``, ``role`` and ``ticket_bits.COUNTS``.

    Raises:
        StoreError: a file is no ticket, or the tickets of a pair are not of one network.
    """
    names = {key: f"{key}:{content}" for key, content in contents.items()}
    found = {pair: cache.get(names[pair[0]], names[pair[1]]) for pair in pairs}
    unknown = [pair for pair in found if found[pair] is None]
    uses = Counter(chain.from_iterable(unknown))
    paths = files(uses.keys())
    held: dict[str, TicketBits] = {}
    for a, b in unknown:
        for key in (a, b):
            if key not in held:
                held[key] = read_ticket(paths[key])
        try:
            found[a, b] = made = compare(held[a], held[b])
        except ValueError as error:
            raise StoreError(
                f"{paths[a]} and {paths[b]} cannot be compared: {error}; give each network a store"
            ) from error
        cache.put(names[a], names[b], made)
        uses.subtract((a, b))
        for key in {a, b}:
            if not uses[key]:
                del held[key]
    return _table({pair: each for pair, each in found.items() if each is not None})


def _table(found: Mapping[Pair, Comparison]) -> pd.DataFrame:
    sizes = [len(each.tensors) for each in found.values()]
    counts = np.concatenate([np.zeros((0, len(COUNTS)), np.int64), *(each.counts for each in found.values())])
    texts = {
        "key": np.repeat([a for a, _ in found], sizes) if found else [],
        "other_key": np.repeat([b for _, b in found], sizes) if found else [],
        "tensor": [name for each in found.values() for name in each.tensors],
        "role": [role for each in found.values() for role in each.roles],
    }
    table = pd.DataFrame(texts, dtype="str")
    return table.assign(**{name: counts[:, column] for column, name in enumerate(COUNTS)})
