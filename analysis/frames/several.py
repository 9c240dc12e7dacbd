"""Several stores read as one: a stage that two stores hold is one result, and where they differ is named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.store import KEY_DIGITS, Store, StoreError
from orchestrator.store.layout import StageFiles
from orchestrator.store.plans import StoredPlan
from orchestrator.store.record import Failure, Record
from tickets.files.tables import read_rows
from workers.storage import schemas

DISAGREEMENTS = ("key", "name", "store", "other_store", "differs")
NOT_RESULTS = (schemas.TIMING,)
"""Files that equal computations write differently."""


class SeveralStores:
    """Stores to read as one; of a stage that several hold, the first store's result counts.

    Attributes:
        root: their roots, for messages.
        disagreements: of the records as last read, the rows of the frame of that name.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = tuple({store.root: store for store in stores}.values())
        self.root = " and ".join(store.root for store in self.stores)
        self.disagreements: list[dict[str, str]] = []
        self._holders: dict[str, Store] = {}

    def records(self, damaged: dict[str, str] | None = None, *, relist: bool = True) -> dict[str, Record]:
        """Return every committed record by key; a damaged one is named in ``damaged`` if no other store has it whole.

        Args:
            relist: as for one store.

        Raises:
            StoreError: a record is damaged, and ``damaged`` was not given.
        """
        records: dict[str, Record] = {}
        sentences: dict[str, str] = {}
        self.disagreements = []
        for store in self.stores:
            for key, record in store.records(sentences, relist=relist).items():
                holder = self._holders.setdefault(key, store)
                first = records.setdefault(key, record)
                if holder is not store and (differing := _differing((holder, first), (store, record))):
                    labels = {"key": key, "name": record.name, "store": holder.root, "other_store": store.root}
                    self.disagreements.append({**labels, "differs": ", ".join(differing)})
        whole = {key[:KEY_DIGITS] for key in records}
        lost = {key: sentence for key, sentence in sentences.items() if key[:KEY_DIGITS] not in whole}
        if damaged is None and lost:
            raise StoreError(next(iter(lost.values())))
        if damaged is not None:
            damaged |= lost
        return records

    def plans(self, damaged: dict[str, str] | None = None) -> list[StoredPlan]:
        """Every stored plan, oldest first."""
        plans = (plan for store in self.stores for plan in store.plans(damaged))
        return sorted(plans, key=lambda plan: plan.started_unix_s)

    def failures(self, *, relist: bool = True) -> list[Failure]:
        """The failures of stages that no store has done, oldest first; their logs' paths begin with their store.

        Args:
            relist: as in ``Store.failures``.
        """
        failures = [
            failure.model_copy(update={"log": f"{store.root}/{failure.log}"})
            for store in self.stores
            for failure in store.failures(relist=relist)
            if failure.key not in self._holders
        ]
        return sorted(failures, key=lambda failure: failure.finished_unix_s)

    def holder_of(self, key: str) -> Store:
        """The store whose result of a stage counts; StoreError if no store has the stage done."""
        if key not in self._holders:
            raise StoreError(f"stage {key} is not in {self.root}")
        return self._holders[key]

    def folder(self, key: str) -> str:
        """A stage's folder, relative to its store."""
        return self.holder_of(key).folder(key)

    def stage(self, key: str) -> StageFiles | None:
        """A stage's files as last listed; None if no store has it done."""
        return self._holders[key].stage(key) if key in self._holders else None

    def local(
        self, files: Collection[tuple[str, str]], *, unreadable: MutableMapping[str, str] | None = None
    ) -> dict[tuple[str, str], Path]:
        """Return artifacts as local files by (key, name), as ``Store.local`` does."""
        return {
            file: path
            for store in self.stores
            for file, path in store.local(
                [file for file in files if self.holder_of(file[0]) is store], unreadable=unreadable
            ).items()
        }

    def damage(self, key: str) -> str | None:
        """Check a committed stage's files by their sizes; a sentence about the first damaged one."""
        return self.holder_of(key).damage(key)

    def collected(self) -> set[str]:
        """Keys of committed stages that lost files to ``orchestrator.gc``."""
        return {key for store in self.stores for key in store.collected() if self._holders.get(key) is store}


Reader = Store | SeveralStores
"""What the frames of one or several stores are read from."""


def open_reader(given: Path | str | Reader | Iterable[Path | str | Store]) -> Reader:
    """Open one store, or several as one; a reader is returned as it is.

    Raises:
        StoreError: one of them does not exist, or none is named.
    """
    if isinstance(given, SeveralStores):
        return given
    several = [given] if isinstance(given, Path | str | Store) else list(given)
    stores = [each if isinstance(each, Store) else Store(each) for each in several]
    for store in stores:
        store.require()
    if not stores:
        raise StoreError("no store is named; give the folder or the URL of a sweep's store")
    return stores[0] if len(stores) == 1 else SeveralStores(stores)


def stores_of(reader: Reader) -> tuple[Store, ...]:
    """The stores behind a reader."""
    return reader.stores if isinstance(reader, SeveralStores) else (reader,)


def roots(reader: Reader) -> tuple[str, ...]:
    """The roots of the stores behind a reader."""
    return tuple(store.root for store in stores_of(reader))


def holder_of(reader: Reader, key: str) -> Store:
    """The store whose result of a stage counts."""
    return reader.holder_of(key) if isinstance(reader, SeveralStores) else reader


def disagreements(reader: Reader | None = None) -> pd.DataFrame:
    """Return the stages that two stores hold with different results: the frame of that name.

    Returns:
        ``key``, ``name``, ``store`` (whose result counts), ``other_store``, ``differs`` (names of files and numbers).
    """
    rows = reader.disagreements if isinstance(reader, SeveralStores) else []
    return pd.DataFrame(rows, columns=list(DISAGREEMENTS), dtype="str")


def _differing(one: tuple[Store, Record], other: tuple[Store, Record]) -> list[str]:
    """Name the files and numbers in which two stores' results of a stage differ.

    Signs over time do not count where one of the results is of a version that did not record them.
    """
    digests: list[Mapping[str, str]] = [
        {name: file.blake2b for name, file in record.files.items() if name not in NOT_RESULTS}
        for _, record in (one, other)
    ]
    files = _unequal(*digests)
    if any(schemas.SIGNS not in each for each in digests):
        files.discard(schemas.SIGNS)
    rows = {name for name in files if name in schemas.SCHEMAS and all(name in each for each in digests)}
    numbers = _unequal(one[1].results, other[1].results)
    numbers -= {name for name in schemas.SIGNS_RESULTS if not all(name in each[1].results for each in (one, other))}
    return sorted(
        numbers | {name for name in files if name not in rows or not _equal(_rows(one, name), _rows(other, name))}
    )


def _equal(rows: pd.DataFrame | None, other: pd.DataFrame | None) -> bool:
    """Compare two tables' rows, but for columns that an older version did not write into one of them."""
    if rows is None or other is None:
        return False
    unwritten = [
        name for name in schemas.OPTIONAL_COLUMNS & {*rows} if rows[name].isna().all() or other[name].isna().all()
    ]
    return rows.drop(columns=unwritten).equals(other.drop(columns=unwritten))


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {name for name in {**a, **b} if a.get(name) != b.get(name)}


def _rows(of: tuple[Store, Record], file: str) -> pd.DataFrame | None:
    """Return a table's rows, which versions of this package and of pyarrow write as different bytes.

    None if the file cannot be read, which is said elsewhere.
    """
    store, record = of
    for path in store.local([(record.key, file)], unreadable={}).values():
        with suppress(OSError):
            return read_rows(path, schemas.SCHEMAS[file], schemas.OPTIONAL_COLUMNS).to_pandas()
    return None
