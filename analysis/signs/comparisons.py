"""Compare many tickets: take each pair from the cache, or else read both tickets, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.signs.bits import COUNTS, TicketBits, compare, read_ticket
from analysis.signs.cache import Cache
from orchestrator.store import StoreError

Pair = tuple[str, str]


def comparisons(
    pairs: Sequence[Pair],
    contents: Mapping[str, str],
    files: Callable[[Collection[str]], Mapping[str, Path]],
    cache: Cache,
    left_out: MutableMapping[str, str],
) -> pd.DataFrame:
    """Count what the tickets of each pair have in common, tensor by tensor.

    Args:
        pairs: stage keys. A ticket is held from its first pair to its last, so keep pairs that share a ticket close.
        contents: digest of each ticket's file, by key. It is part of a pair's name in the cache: two machines round
            differently, and so can make two tickets of one key.
        files: returns the tickets' paths by key; called only for tickets of pairs that are not in the cache.
        cache: of kind "tickets".
        left_out: receives a sentence for each file that is no ticket, and for each pair of different networks, by the
            ticket's path.

    Returns:
        One row per pair and tensor: ``key``, ``other_key``, ``tensor``, ``role`` and ``analysis.signs.bits.COUNTS``.
    """
    names = {(a, b): f"{a}:{contents[a]} {b}:{contents[b]}" for a, b in pairs}
    compared: dict[Pair, Any] = {pair: cache.get(name) for pair, name in names.items()}
    uncached = [pair for pair, value in compared.items() if value is None]
    uses = Counter(chain.from_iterable(uncached))
    paths = files(uses.keys())
    held: dict[str, TicketBits | None] = dict.fromkeys(uses.keys() - paths.keys())  # None: cannot be read
    for a, b in uncached:
        for key in (a, b):
            if key not in held:
                held[key] = _read(paths[key], left_out)
        one, other = held[a], held[b]
        if one is not None and other is not None:
            try:
                counts = compare(one, other).tolist()
            except ValueError as error:
                left_out[str(paths[b])] = (
                    f"{paths[a]} and {paths[b]} cannot be compared: {error}; give each network its own store"
                )
            else:
                compared[a, b] = {"tensors": one.tensors, "roles": one.roles, "counts": counts}
                cache.put(names[a, b], compared[a, b])
        uses.subtract((a, b))
        for key in {a, b}:
            if not uses[key]:
                del held[key]
    return _table({pair: value for pair, value in compared.items() if value is not None})


def _read(path: Path, left_out: MutableMapping[str, str]) -> TicketBits | None:
    try:
        return read_ticket(path)
    except StoreError as error:
        left_out[str(path)] = str(error)
        return None


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
