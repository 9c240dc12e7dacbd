"""Count in tickets and weights, a layer at a time; every count is cached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from analysis.frames.several import Reader, holder_of
from analysis.rules.result import NotCheckedError
from analysis.signs.cache import Cache
from orchestrator.store.record import Record
from tickets.errors import TicketError
from tickets.files.columns import read_columns
from workers.storage.schemas import TICKET, WEIGHTS

Mask = npt.NDArray[np.bool_]
Counts = dict[str, int]
MASKS_HELD = 2  # a round's and the previous round's: the masks of a large network take tens of megabytes


class TicketFiles:
    """The masks and weights of committed stages, as counts; ask in the order of the rounds.

    Every method raises ``NotCheckedError`` where a file was removed, lies in a bucket, or cannot be read.

    Args:
        records: all stages that may be asked about, by key.
        deadline_s: seconds after which only cached counts are returned; None: no limit.

    Attributes:
        unreadable: what is wrong with each unreadable file, by its stage's key.
    """

    def __init__(self, store: Reader, records: Mapping[str, Record], deadline_s: float | None) -> None:
        self._store, self._records, self._cache = store, records, Cache("checks")
        self._until_s = None if deadline_s is None else time.monotonic() + deadline_s
        self._collected = store.collected()
        self._masks: dict[str, dict[str, Mask]] = {}
        self.unreadable: dict[str, str] = {}

    def survivors(self, key: str) -> Counts:
        """Count a ticket's prunable ``weights``, and those that ``survive``."""

        def count() -> Counts:
            masks = self._mask(key).values()
            return {"weights": sum(mask.size for mask in masks), "survive": sum(int(mask.sum()) for mask in masks)}

        return self._cached("survivors", [(key, TICKET)], count)

    def regrown(self, key: str, previous: str) -> int:
        """Count the weights that survive in a ticket although the previous ticket had pruned them."""

        def count() -> Counts:
            before, now = self._mask(previous), self._mask(key)
            nothing = {name: np.zeros_like(mask) for name, mask in now.items() if not _fits(mask, before.get(name))}
            return {"regrown": sum(int((mask > {**before, **nothing}[name]).sum()) for name, mask in now.items())}

        return self._cached("regrown", [(key, TICKET), (previous, TICKET)], count)["regrown"]

    def smaller_kept(self, key: str, previous: str) -> int:
        """Count the weights that a ticket pruned although it kept a smaller magnitude, in any layer."""

        def count() -> Counts:
            before, now = self._mask(previous), self._mask(key)
            if not all(_fits(mask, before.get(name)) for name, mask in now.items()):
                raise NotCheckedError("a round has other layers than the previous round")
            sizes = {name: np.abs(weight) for name, weight in self._weights(previous, now)}
            stayed = {name: sizes[name][mask & before[name]] for name, mask in now.items()}
            smallest = min((float(size.min()) for size in stayed.values() if size.size), default=np.inf)
            return {"pruned": sum(int(((sizes[name] > smallest) & before[name] & ~now[name]).sum()) for name in now)}

        return self._cached("smaller_kept", [(key, TICKET), (previous, TICKET), (previous, WEIGHTS)], count)["pruned"]

    def alive(self, key: str, ticket: str, *, shuffled: bool) -> int:
        """Count a stage's weights that are not exactly 0 although a ticket's mask prunes them.

        Args:
            shuffled: the stage's mask is the ticket's, shuffled within each layer: only the number of survivors in a
                layer is known.
        """

        def count() -> Counts:
            masks = self._mask(ticket)
            alive = 0
            for name, weight in self._weights(key, masks):
                if shuffled:
                    alive += max(0, int(np.count_nonzero(weight)) - int(masks[name].sum()))
                else:
                    alive += int(((weight != 0) > masks[name]).sum())
            return {"alive": alive}

        question = "alive_by_layer" if shuffled else "alive"
        return self._cached(question, [(key, WEIGHTS), (ticket, TICKET)], count)["alive"]

    def _cached(self, question: str, files: list[tuple[str, str]], count: Callable[[], Counts]) -> Counts:
        """Return the cached counts if they are of the same versions of the files, else count within the deadline."""
        versions = "/".join(self._version(key, file) for key, file in files)
        name = " ".join([self._store.root, question, *(key for key, _ in files)])
        cached = self._cache.get(name)
        if cached is not None and cached["versions"] == versions:
            return dict(cached["counts"])
        if self._until_s is not None and time.monotonic() >= self._until_s:
            raise NotCheckedError("out of time; python -m analysis.checks has no time limit")
        counts = count()
        self._cache.put(name, {"versions": versions, "counts": counts})
        return counts

    def _version(self, key: str, file: str) -> str:
        """Identify the present content of a stage's file."""
        stage, record = self._store.stage(key), self._records.get(key)
        if stage is None or record is None:
            raise NotCheckedError("the store no longer has their input stage")
        entry = stage.files.get(f"{record.out}/{file}")
        if entry is None:
            removed = key in self._collected
            raise NotCheckedError("weights removed by orchestrator.gc" if removed else f"no {file}")
        if file == WEIGHTS and holder_of(self._store, key).storage.folder is None:
            raise NotCheckedError("weights lie in a bucket")
        return f"{entry.size_bytes}-{entry.version}"

    @cached_property
    def _tickets(self) -> dict[tuple[str, str], Path]:
        """All tickets as local files; a bucket's tickets are downloaded together, when the first is needed."""
        stages = {key: self._store.stage(key) for key in self._records}
        kept = [key for key, stage in stages.items() if stage and f"{self._records[key].out}/{TICKET}" in stage.files]
        return self._store.local([(key, TICKET) for key in kept])

    def _mask(self, key: str) -> dict[str, Mask]:
        if key not in self._masks:
            while len(self._masks) >= MASKS_HELD:
                del self._masks[next(iter(self._masks))]
            try:
                self._masks[key] = read_masks(self._tickets[key, TICKET])
            except (TicketError, OSError, KeyError) as error:
                raise self._unreadable(key, TICKET) from error
        return self._masks[key]

    def _weights(self, key: str, masks: Mapping[str, Mask]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Yield a stage's masked layers, flat; the file is mapped into memory, and copied by layer."""
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

    def _unreadable(self, key: str, file: str) -> NotCheckedError:
        self.unreadable[key] = f"{file} cannot be read"
        return NotCheckedError("a file cannot be read")


def read_masks(path: Path) -> dict[str, Mask]:
    """Read the flat masks of a ticket's prunable weights: a weight survives by its sign, or as a listed zero."""
    columns = read_columns(path)
    parts = zip(columns.names, columns.roles, columns.slices(), strict=True)
    return {name: columns.mask[part] for name, role, part in parts if role == "prunable"}


def _fits(mask: Mask, other: npt.NDArray[Any] | None) -> bool:
    return other is not None and other.size == mask.size
