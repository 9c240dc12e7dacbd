"""Compare a store with an undisturbed sweep bit for bit, and count the repeated work."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from benchmarks.faults.processes import TrialError
from benchmarks.faults.small_sweep import CHECKPOINT_INTERVAL_S, Place
from orchestrator.store import Store
from orchestrator.store.events import read_events
from orchestrator.store.layout import KEY_DIGITS, RECORD, stage_folders
from orchestrator.store.record import Record
from tickets.files import digest
from workers.storage.schemas import TIMING

STAGE_BATCHES = 36


@dataclass(frozen=True)
class Reference:
    """Results of an undisturbed sweep.

    Attributes:
        contents: digests, by stage key and name, of all artifacts that must be equal.
        batches: number of training batches of the sweep.
        ranks: processes that train a stage together; each counts its own batches.
    """

    records: dict[str, Record]
    contents: dict[tuple[str, str], str]
    batches: int
    ranks: int = 1

    @classmethod
    def of(cls, place: Place, ranks: int = 1) -> Reference:
        """Take a finished sweep as the reference."""
        store = Store(place.store)
        return cls(store.records(), _contents(store), place.batches(), ranks)


@dataclass(frozen=True)
class Verdict:
    """Cost of a disturbed sweep.

    Attributes:
        again: number of training batches computed again.
        changed: differences to the undisturbed sweep; empty if there are none.
    """

    again: int
    lost_s: float
    changed: list[str]


def judge(place: Place, reference: Reference, kills: int, unaware: int = 0) -> Verdict:
    """Compare a finished sweep with the reference.

    Args:
        kills: number of running stages that were killed or given up.
        unaware: number of these that went on computing.

    Raises:
        TrialError: the repeated batches exceed one checkpoint interval per kill plus the damaged stages.
    """
    store = Store(place.store)
    stages = store.stages()
    again = place.batches() - reference.batches
    events = Counter((event["event"], event["key"]) for event in read_events(store.storage))
    retried = sum(count for (event, _), count in events.items() if event == "failed")
    fast_s, median_s = place.seconds_per_batch()
    interval = reference.ranks * (2 + math.ceil(CHECKPOINT_INTERVAL_S / fast_s))
    remade = sum(name.startswith("set-aside/") for stage in stages.values() for name in stage.files)
    bound = (kills + retried) * interval + (remade + unaware) * STAGE_BATCHES
    changed = _differences(store, reference, events)
    if again > bound:
        raise TrialError(f"{again} batches were computed again, more than the bound of {bound}")
    return Verdict(again, again * median_s, changed)


def _differences(store: Store, reference: Reference, events: Counter[tuple[str, str]]) -> list[str]:
    damaged: dict[str, str] = {}
    records = store.records(damaged)
    stages = store.stages()
    differences = [f"{what} (damaged)" for what in damaged.values()]
    if records.keys() != reference.records.keys():
        missing = [record.name for key, record in reference.records.items() if key not in records]
        differences.append(f"{len(records)} records; missing: {', '.join(missing)}")
    for short, folders in stage_folders(store.storage.listing("stages")).items():
        commits = [folder.folder for folder in folders if RECORD in folder.files]
        if len(commits) != 1:
            differences.append(f"{short} has {len(commits)} records")
    for key, record in records.items():
        expected = reference.records.get(key)
        if expected is None:
            differences.append(f"{record.name} is not in the undisturbed sweep")
            continue
        for what in ("name", "kind", "labels", "science", "inputs", "results"):
            if getattr(record, what) != getattr(expected, what):
                differences.append(f"{record.name}: {what} is {getattr(record, what)}, not {getattr(expected, what)}")
        aside = sum(name.startswith("set-aside/") for name in stages[key[:KEY_DIGITS]].files)
        if events["done", key] > 1 + aside:
            differences.append(f"{record.name} was done {events['done', key]} times")
    contents = _contents(store)
    differences += [
        f"{reference.records[key].name}: {name} changed"
        for (key, name), content in reference.contents.items()
        if key in records and contents.get((key, name)) != content
    ]
    for key, record in records.items():
        for name, file in record.files.items():
            content = _content(store, key, name)
            if content is None or digest.of_bytes(content) != file.blake2b:
                differences.append(f"{record.name}: {name} differs from its record")
    return differences


def _contents(store: Store) -> dict[tuple[str, str], str]:
    """Digest all artifacts except the timing, which differs between equal runs."""
    digests = {}
    for key, record in store.records({}).items():
        for name in record.files:
            content = _content(store, key, name)
            if name != TIMING and content is not None:
                digests[key, name] = digest.of_bytes(content)
    return digests


def _content(store: Store, key: str, name: str) -> bytes | None:
    try:
        return store.storage.read(f"{store.out(key)}/{name}")
    except FileNotFoundError:
        return None
