"""Looks into tickets and weights, a layer at a time; what was seen once is remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from analysis.rules.cache import Answer, Memory
from analysis.rules.finding import NotLookedError
from orchestrator.store import Store
from orchestrator.store.record import Record
from workers.storage.schemas import TICKET, WEIGHTS

Mask = npt.NDArray[np.bool_]
MASKS_HELD = 2  # a round's and the round's before: the masks of a large network take tens of megabytes


class Looks:
    """Answers about the masks and weights of committed stages, each a count; ask in the order of the rounds.

    All of them raise ``NotLookedError`` where a file was removed, lies in a bucket, or cannot be read.

    Args:
        records: of all stages that are asked about, as the store has them.
        patience_s: after so many seconds only what is remembered is answered; None waits.

    Attributes:
        unreadable: what is wrong with each file that could not be read, by its stage's key.
    """

    def __init__(self, store: Store, records: Mapping[str, Record], memory: Memory, patience_s: float | None) -> None:
        self._store, self._records, self._memory = store, records, memory
        self._until = None if patience_s is None else time.monotonic() + patience_s
        self._collected = store.collected()
        self._masks: dict[str, dict[str, Mask]] = {}
        self.unreadable: dict[str, str] = {}

    def survivors(self, key: str) -> Answer:
        """How many prunable ``weights`` a ticket has, and how many ``survive``."""

        def look() -> Answer:
            masks = self._mask(key).values()
            return {"weights": sum(mask.size for mask in masks), "survive": sum(int(mask.sum()) for mask in masks)}

        return self._answer("survivors", [(key, TICKET)], look)

    def regrown(self, key: str, previous: str) -> int:
        """How many weights survive in a ticket that the ticket before had pruned."""

        def look() -> Answer:
            before, now = self._mask(previous), self._mask(key)
            nothing = {name: np.zeros_like(mask) for name, mask in now.items() if not _fits(mask, before.get(name))}
            return {"regrown": sum(int((mask > {**before, **nothing}[name]).sum()) for name, mask in now.items())}

        return self._answer("regrown", [(key, TICKET), (previous, TICKET)], look)["regrown"]

    def smaller_kept(self, key: str, previous: str) -> int:
        """How many weights a ticket pruned although one of a smaller magnitude stayed, in whatever layer."""

        def look() -> Answer:
            before, now = self._mask(previous), self._mask(key)
            if not all(_fits(mask, before.get(name)) for name, mask in now.items()):
                raise NotLookedError("a round has other layers than the round before")
            sizes = {name: np.abs(weight) for name, weight in self._weights(previous, now)}
            stayed = {name: sizes[name][mask & before[name]] for name, mask in now.items()}
            kept = min((float(size.min()) for size in stayed.values() if size.size), default=np.inf)
            return {"pruned": sum(int(((sizes[name] > kept) & before[name] & ~now[name]).sum()) for name in now)}

        return self._answer("smaller_kept", [(key, TICKET), (previous, TICKET), (previous, WEIGHTS)], look)["pruned"]

    def alive(self, key: str, ticket: str, *, shuffled: bool) -> int:
        """How many weights of a stage are not exactly 0 although the mask of a ticket prunes them.

        Args:
            shuffled: the mask is that of the ticket, shuffled within each layer: only a layer's number is known.
        """

        def look() -> Answer:
            masks = self._mask(ticket)
            found = 0
            for name, weight in self._weights(key, masks):
                if shuffled:
                    found += max(0, int(np.count_nonzero(weight)) - int(masks[name].sum()))
                else:
                    found += int(((weight != 0) > masks[name]).sum())
            return {"alive": found}

        question = "alive_by_layer" if shuffled else "alive"
        return self._answer(question, [(key, WEIGHTS), (ticket, TICKET)], look)["alive"]

    # --- inside --------------------------------------------------------------------------------------------------

    def _answer(self, question: str, files: list[tuple[str, str]], look: Callable[[], Answer]) -> Answer:
        versions = "/".join(self._version(key, file) for key, file in files)

        def in_time() -> Answer:
            if self._until is not None and time.monotonic() >= self._until:
                raise NotLookedError("there was no time to; python -m analysis.checks takes it")
            return look()

        return self._memory.recall(f"{question}/{'/'.join(key for key, _ in files)}", versions, in_time)

    def _version(self, key: str, file: str) -> str:
        """What tells a file from any other that may be in its place."""
        stage, record = self._store.stage(key), self._records.get(key)
        if stage is None or record is None:
            raise NotLookedError("what they were made from is not in the store any more")
        entry = stage.files.get(f"{record.out}/{file}")
        if entry is None:
            gone = key in self._collected
            raise NotLookedError("weights removed by orchestrator.gc" if gone else f"no {file}")
        if file == WEIGHTS and self._store.storage.folder is None:
            raise NotLookedError("weights lie in a bucket")
        return f"{entry.size_bytes}-{entry.version}"

    @cached_property
    def _tickets(self) -> dict[tuple[str, str], Path]:
        """Every ticket as a file of this machine; those of a bucket are copied at once, as soon as one is needed."""
        stages = {key: self._store.stage(key) for key in self._records}
        there = [key for key, stage in stages.items() if stage and f"{self._records[key].out}/{TICKET}" in stage.files]
        return self._store.local([(key, TICKET) for key in there])

    def _mask(self, key: str) -> dict[str, Mask]:
        if key not in self._masks:
            while len(self._masks) >= MASKS_HELD:
                del self._masks[next(iter(self._masks))]
            try:
                self._masks[key] = read_masks(self._tickets[key, TICKET])
            except (pa.ArrowException, OSError, KeyError, ValueError, IndexError) as error:
                raise self._unreadable(key, TICKET) from error
        return self._masks[key]

    def _weights(self, key: str, masks: Mapping[str, Mask]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """The masked layers of a stage's weights, flat; the file is mapped into memory, and copied by layer."""
        path = self._store.local([(key, WEIGHTS)])[key, WEIGHTS]
        try:
            with safe_open(path, framework="numpy") as file:
                for name, mask in masks.items():
                    weight = file.get_tensor(name).reshape(-1)
                    if not _fits(mask, weight):
                        raise self._unreadable(key, WEIGHTS)
                    yield name, weight
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise self._unreadable(key, WEIGHTS) from error

    def _unreadable(self, key: str, file: str) -> NotLookedError:
        self.unreadable[key] = f"{file} cannot be read"
        return NotLookedError("a file cannot be read")


def read_masks(path: Path) -> dict[str, Mask]:
    """Flat masks of the prunable weights in a ticket's file: a sign, or a zero that is said to survive."""
    table = pq.read_table(path, columns=["name", "role", "sign", "surviving_zeros"])
    masks = {}
    for batch in table.to_batches():
        for name, role, sign, zeros in zip(*batch.columns, strict=True):
            if role.as_py() == "prunable":
                mask = sign.values.to_numpy() != 0
                mask[zeros.values.to_numpy()] = True
                masks[name.as_py()] = mask
    return masks


def _fits(mask: Mask, other: npt.NDArray[Any] | None) -> bool:
    return other is not None and other.size == mask.size
