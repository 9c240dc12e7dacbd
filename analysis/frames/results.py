"""Results of stages: the tables beside the records, one kind of file of all stages at a time, and the density.

A report in its store copies the tables, one file a kind, into the folder ``copies``: the next one reads the copies at
once, instead of opening tens of thousands of small files. An old, damaged or missing copy loses nothing: a copy counts
only while the stage's own file has the version that was copied.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.frames.several import Reader, holder_of, stores_of
from orchestrator.store import Store
from orchestrator.store.index import MOST_BYTES
from orchestrator.store.record import Record, inputs_first
from tickets.files import digest
from tickets.files.tables import MOST_TEXT_BYTES, ROWS, read_rows
from workers.storage.schemas import DISTINCT, OPTIONAL_COLUMNS

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
    copies = {of: table for store in stores_of(reader) for of, table in read_copies(store, file, schema).items()}
    tables = {key: copies[key, version] for key, version in wanted.items() if (key, version) in copies}
    new = [(key, file) for key in wanted if key not in tables]
    for (key, _), path in reader.local(new, unreadable=left_out).items():
        try:
            tables[key] = read_rows(path, schema, OPTIONAL_COLUMNS)
        except OSError as error:
            left_out[str(path)] = str(error)
    tables = {key: tables[key] for key in wanted if key in tables}
    whole = pa.concat_tables([schema.empty_table(), *tables.values()])
    if copy and isinstance(reader, Store) and len(new) >= max(LEAST_TO_COPY, LEAST_SHARE * len(wanted)):
        write_copies(reader, file, {(key, wanted[key]): each for key, each in tables.items() if wanted[key]})
    places = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables.values()])
    rows = whole.to_pandas()
    twice = set(places[rows.assign(key=places).duplicated(["key", *DISTINCT[file]])])
    rows = rows.assign(key=pd.Series(np.array([*tables], dtype=object)[places], dtype="str"))
    if not twice:
        return rows
    damaged_keys = {key for place, key in enumerate(tables) if place in twice}
    for record in (record for record in records if record.key in damaged_keys):
        damaged = f"{holder_of(reader, record.key).root}/{reader.folder(record.key)}/{record.out}/{file}"
        left_out[damaged] = f"{damaged} has two rows of one {' and '.join(DISTINCT[file]) or 'result'}"
    return rows[~np.isin(places, [*twice])].reset_index(drop=True)


def _version(reader: Reader, record: Record, file: str) -> str:
    """The version of a stage's file as last listed; empty if the file is not there, or its storage has no versions."""
    stage = reader.stage(record.key)
    entry = stage.files.get(f"{record.out}/{file}") if stage else None
    return f"{entry.version} {entry.size_bytes}" if entry and entry.version else ""


def read_copies(store: Store, file: str, schema: pa.Schema) -> dict[Versioned, pa.Table]:
    """Return the copies of one kind of file; none if they cannot be read, or have other columns."""
    path = _path(file)
    try:
        seal, _, content = store.storage.read(path, MOST_BYTES).partition(b"\n")
        if seal != digest.of_bytes(content).encode():
            return {}
        table = read_rows(path, pa.schema([*_OF, *schema]), OPTIONAL_COLUMNS, content).combine_chunks()
    except OSError:
        return {}
    if not table.num_rows:
        return {}
    return dict(_each(table.select(_OF.names).to_pandas(), table.select(schema.names)))


def _path(file: str) -> str:
    """Where the copies of one kind of file lie in a store: a Parquet file after a line with its digest."""
    return f"{COPIES}/{file.removesuffix('.parquet')}.rows"


def _each(of: pd.DataFrame, rows: pa.Table) -> Iterator[tuple[Versioned, pa.Table]]:
    """Cut a table, which has rows, where the stage or the version changes."""
    starts = np.flatnonzero(of.ne(of.shift()).any(axis=1))
    names = of.iloc[starts].itertuples(index=False, name=None)
    for name, start, end in zip(names, starts, [*starts[1:], len(of)], strict=True):
        yield name, rows.slice(start, end - start)


def write_copies(store: Store, file: str, tables: Mapping[Versioned, pa.Table]) -> None:
    """Replace the copies of one kind of file; where the store cannot be written, it stays as it is."""
    counts = [table.num_rows for table in tables.values()]
    if not 0 < sum(counts) <= ROWS.most_rows:  # more are not read
        return
    of = [np.repeat(np.array(each, dtype=object), counts) for each in zip(*tables, strict=True)]
    table = pa.concat_tables(tables.values()).combine_chunks()
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    for name, values in zip(_OF.names, of, strict=True):
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


def densities(records: Mapping[str, Record]) -> dict[str, float | None]:
    """Return each stage's density, or else the one density of its inputs: a probe has that of its two ends."""
    measured = {key: record.results.get("density") for key, record in records.items()}
    density_of = {key: None if density is None else float(density) for key, density in measured.items()}
    for key in inputs_first({key: record for key, record in records.items() if measured[key] is None}):
        upstream = {density_of[each] for each in records[key].inputs.values() if each in density_of}
        density_of[key] = upstream.pop() if len(upstream) == 1 else None
    return density_of
