"""Results of stages: the tables beside the records, one kind of file of all stages at a time, and the density.

A report in its store copies the tables, one file a kind, into the folder ``copies``: the next one reads the copies at
once, instead of opening tens of thousands of small files. An old, damaged or missing copy loses nothing: a copy counts
only while the stage's own file has the version that was copied.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.frames.columns import IDENTITY, typed
from analysis.frames.several import Reader, holder_of, stores_of
from analysis.signs.over_time import (
    LAYER_COLUMNS,
    RECORD_COLUMNS,
    recorded_trainings,
    signs_by_layer,
    signs_over_time,
)
from orchestrator.store import Store
from orchestrator.store.index import MOST_BYTES
from orchestrator.store.record import Record, inputs_first
from tickets.files import digest
from tickets.files.tables import MOST_TEXT_BYTES, ROWS, read_rows
from workers.storage.schemas import DISTINCT, OPTIONAL_COLUMNS, SIGNS, SIGNS_SCHEMA

COPIES = "copies"
"""A store's folder of copies."""
LEAST_TO_COPY, LEAST_SHARE = 200, 0.1
"""Files, in number and as a share of all, that were not copied yet, before the copies are written again."""
Versioned = tuple[str, str]
"""A stage's key, and the version of its file: another content has another version."""
_OF = pa.schema({"stage": pa.string(), "version": pa.string()})


def read_results(
    reader: Reader,
    records: Collection[Record],
    file: str,
    schema: pa.Schema,
    left_out: MutableMapping[str, str],
    *,
    copy: bool = False,
) -> pd.DataFrame:
    """Read one kind of file of all stages, or their copies; each row has its stage's key.

    Args:
        left_out: receives a sentence for each file that cannot be read, or has a row twice, by its path.
        copy: copy the tables into the store if many are not copied yet; for a single store.
    """
    wanted = {record.key: _version(reader, record, file) for record in records if file in record.files}
    number = {key: place for place, key in enumerate(wanted)}
    keys, versions = (np.array([*each], dtype=object) for each in (wanted, wanted.values()))
    tables, numbers, new = [schema.empty_table()], [np.empty(0, np.int64)], [*wanted]
    for store in stores_of(reader):
        copies = read_copies(store, file, schema)
        copied = [key for key in new if (key, wanted[key]) in copies.places]
        rows, counts = _rows_at([copies.places[key, wanted[key]] for key in copied])
        tables.append(_taken(copies.rows, rows))
        numbers.append(np.repeat([number[key] for key in copied], counts).astype(np.int64))
        new = [key for key in new if (key, wanted[key]) not in copies.places]
    for (key, _), path in reader.local([(key, file) for key in new], unreadable=left_out).items():
        try:
            tables.append(read_rows(path, schema, OPTIONAL_COLUMNS))
            numbers.append(np.full(tables[-1].num_rows, number[key]))
        except OSError as error:
            left_out[str(path)] = str(error)
    of_rows = np.concatenate(numbers)
    order = np.argsort(of_rows, kind="stable")
    whole, of_rows = _taken(pa.concat_tables(tables), order), of_rows[order]
    del tables  # of tens of thousands of stages: most of the memory
    if copy and isinstance(reader, Store) and len(new) >= max(LEAST_TO_COPY, LEAST_SHARE * len(wanted)):
        with_version = np.flatnonzero(versions[of_rows] != "")
        of = of_rows[with_version]
        write_copies(reader, file, _taken(whole, with_version), keys[of], versions[of])
    frame = whole.to_pandas()
    twice = {keys[place] for place in of_rows[frame.assign(key=of_rows).duplicated(["key", *DISTINCT[file]])]}
    frame = frame.assign(key=pd.Series(keys[of_rows], dtype="str"))
    if not twice:
        return frame
    for record in (record for record in records if record.key in twice):
        damaged = f"{holder_of(reader, record.key).root}/{reader.folder(record.key)}/{record.out}/{file}"
        left_out[damaged] = f"{damaged} has two rows of one {' and '.join(DISTINCT[file]) or 'result'}"
    return frame[~frame["key"].isin(twice)].reset_index(drop=True)


def read_signs(
    reader: Reader, records: Mapping[str, Record], stages: pd.DataFrame, left_out: MutableMapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the signs over time of few trainings; return the frames ``signs_by_layer`` and ``signs_over_time``.

    Args:
        left_out: as for ``read_results``.
    """
    chosen = recorded_trainings(stages)
    if chosen.empty:
        return no_signs()
    recorded = read_results(reader, [records[key] for key in chosen["key"]], SIGNS, SIGNS_SCHEMA, left_out)
    labels = chosen[[*IDENTITY, "density"]]
    courses = recorded[recorded["key"].isin(chosen.loc[chosen["shown"], "key"])]
    return labels.merge(signs_by_layer(recorded), on="key"), labels.merge(signs_over_time(courses), on="key")


def no_signs() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the frames of signs over time of no training."""
    by_layer, over_time = ((*IDENTITY, "density", *columns) for columns in (LAYER_COLUMNS, RECORD_COLUMNS))
    return typed((), by_layer), typed((), over_time)


def _rows_at(places: Sequence[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of several ranges, from a first row to before an end, and the number of rows of each."""
    starts, ends = np.array(places, np.int64).reshape(-1, 2).T
    counts = ends - starts
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum()), counts


def _taken(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Return some rows of a table: the table itself if they are all of its rows in order, which it mostly is."""
    return table if np.array_equal(rows, np.arange(table.num_rows)) else table.take(rows)


def _version(reader: Reader, record: Record, file: str) -> str:
    """The version of a stage's file as last listed; empty if the file is not there, or its storage has no versions."""
    stage = reader.stage(record.key)
    entry = stage.files.get(f"{record.out}/{file}") if stage else None
    return f"{entry.version} {entry.size_bytes}" if entry and entry.version else ""


@dataclass(frozen=True)
class Copies:
    """Copies of one kind of file.

    Attributes:
        rows: of all copied files.
        places: the first row of each file's, and the row after its last one.
    """

    rows: pa.Table
    places: dict[Versioned, tuple[int, int]]


def read_copies(store: Store, file: str, schema: pa.Schema) -> Copies:
    """Return the copies of one kind of file; none if they cannot be read, or have other columns."""
    path, none = _path(file), Copies(schema.empty_table(), {})
    try:
        seal, _, content = store.storage.read(path, MOST_BYTES).partition(b"\n")
        if seal != digest.of_bytes(content).encode():
            return none
        table = read_rows(path, pa.schema([*_OF, *schema]), OPTIONAL_COLUMNS, content)
    except OSError:
        return none
    of = table.select(_OF.names).to_pandas()
    starts = np.flatnonzero(of.ne(of.shift()).any(axis=1))
    names = of.iloc[starts].itertuples(index=False, name=None)
    ranges = zip(starts.tolist(), np.append(starts, len(of))[1:].tolist(), strict=True)
    return Copies(table.select(schema.names), dict(zip(names, ranges, strict=True)))


def _path(file: str) -> str:
    """Where the copies of one kind of file lie in a store: a Parquet file after a line with its digest."""
    return f"{COPIES}/{file.removesuffix('.parquet')}.rows"


def write_copies(
    store: Store, file: str, rows: pa.Table, keys: NDArray[np.object_], versions: NDArray[np.object_]
) -> None:
    """Replace the copies of one kind of file; where the store cannot be written, it stays as it is.

    Args:
        keys, versions: of the file that each row is from.
    """
    if not 0 < rows.num_rows <= ROWS.most_rows:  # more are not read
        return
    table = rows.combine_chunks()
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    for name, values in zip(_OF.names, (keys, versions), strict=True):
        table = table.append_column(name, pa.array(values, pa.string()))
    parquet = io.BytesIO()
    pq.write_table(
        table,
        parquet,
        compression="none",
        use_dictionary=[*_OF.names, *texts],
        dictionary_pagesize_limit=MOST_TEXT_BYTES // 2,
        write_statistics=False,
    )
    content = parquet.getvalue()
    sealed = digest.of_bytes(content).encode() + b"\n" + content
    if len(sealed) <= MOST_BYTES:
        with suppress(OSError):  # a full disk or somebody else's store costs time, never the report
            store.storage.write(_path(file), sealed)


def above_chord(points: pd.DataFrame, value: str) -> pd.Series:
    """The largest rise of a value above the straight line between a path's ends, by the probe's key.

    Args:
        points: one row per ``key`` and ``lambda``.
    """
    share, keys = points["lambda"], points["key"]
    start, end = (keys.map(points[share == at].set_index("key")[value]).astype("float64") for at in (0, 1))
    return (points[value] - (1 - share) * start - share * end).groupby(keys).max()


def ticket_data_sets(records: Mapping[str, Record]) -> dict[str, str | None]:
    """Return the data set of the ticket behind each final training, probe and landscape; None for other stages.

    Of several tickets, as in a probe between two of them, all must be of one data set.
    """
    found: dict[str, str | None] = {}
    for key in inputs_first(records):
        record = records[key]
        ticket = records.get(record.inputs.get("ticket", ""))
        upstream = {found.get(each) for each in record.inputs.values()}
        if record.kind == "train":
            found[key] = None if ticket is None else _data_set_of(ticket)
        else:
            found[key] = upstream.pop() if len(upstream) == 1 and record.kind not in ("pretrain", "round") else None
    return found


def _data_set_of(ticket: Record) -> str | None:
    """The data set of a ticket: of one from elsewhere, what its file states."""
    stated = ticket.provenance.get("ticket")
    return stated.get("dataset") if isinstance(stated, dict) else ticket.labels.dataset


def densities(records: Mapping[str, Record]) -> dict[str, float | None]:
    """Return each stage's density, or else the one density of its inputs: a probe has that of its two ends.

    A probe of two densities has that of its second network (λ = 1): the transfer, or the later of two rounds.
    """
    measured = {key: record.results.get("density") for key, record in records.items()}
    density_of = {key: None if density is None else float(density) for key, density in measured.items()}
    for key in inputs_first({key: record for key, record in records.items() if measured[key] is None}):
        upstream = {density_of[each] for each in records[key].inputs.values() if each in density_of}
        if len(upstream) > 1 and records[key].kind in ("probe", "pair_probe"):
            upstream = {density_of.get(records[key].inputs["a"])}
        density_of[key] = upstream.pop() if len(upstream) == 1 else None
    return density_of
