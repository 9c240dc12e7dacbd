"""Results of stages: the tables beside the records, one kind of file of all stages at a time, and the density."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, MutableMapping

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.frames.several import Reader, holder_of
from analysis.signs.cache import Cache
from orchestrator.store.record import Record, inputs_first
from tickets.files.tables import read_rows
from workers.storage.schemas import DISTINCT, OPTIONAL_COLUMNS

LEAST_TO_KEEP = 200
"""Files that were not kept yet, before the kept tables are written again."""
Versioned = tuple[str, str]
"""A stage's key, and the version of its file: another content has another version."""


def read_results(
    reader: Reader, records: Collection[Record], file: str, schema: pa.Schema, left_out: MutableMapping[str, str]
) -> pd.DataFrame:
    """Read one kind of file of all stages; each row has its stage's key.

    Opening tens of thousands of small files is slow, so the user's cache keeps their rows, by the files' versions.

    Args:
        left_out: receives a sentence for each file that cannot be read, or has a row twice, by its path.
    """
    cache, name = Cache("results"), f"{reader.root}/{file}"
    wanted = {record.key: _version(reader, record, file) for record in records if file in record.files}
    kept = _kept(cache, name, schema)
    tables = {key: kept[key, version] for key, version in wanted.items() if (key, version) in kept}
    new = [(key, file) for key in wanted if key not in tables]
    for (key, _), path in reader.local(new, unreadable=left_out).items():
        try:
            tables[key] = read_rows(path, schema, OPTIONAL_COLUMNS)
        except OSError as error:
            left_out[str(path)] = str(error)
    tables = {key: tables[key] for key in wanted if key in tables}
    whole = pa.concat_tables([schema.empty_table(), *tables.values()])
    if len(new) >= LEAST_TO_KEEP:
        _keep(cache, name, whole, [(key, wanted[key], table.num_rows) for key, table in tables.items()])
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


def _kept(cache: Cache, name: str, schema: pa.Schema) -> dict[Versioned, pa.Table]:
    """Return kept tables; none if the cache was written by a version with other columns."""
    content = cache.get_bytes(name)
    if content is None:
        return {}
    whole = pa.ipc.open_stream(content).read_all()
    entries = json.loads(whole.schema.metadata[b"entries"])
    if whole.schema.remove_metadata() != schema:
        return {}
    whole, tables, first = whole.replace_schema_metadata(None), {}, 0
    for key, version, rows in entries:
        tables[key, version] = whole.slice(first, rows)
        first += rows
    return tables


def _keep(cache: Cache, name: str, whole: pa.Table, entries: list[tuple[str, str, int]]) -> None:
    """Keep tables that are joined to one; those without a version could never be told from others."""
    versioned = np.repeat([version != "" for _, version, _ in entries], [rows for *_, rows in entries])
    described = json.dumps([entry for entry in entries if entry[1]])
    table = whole.filter(pa.array(versioned, pa.bool_())).combine_chunks()  # slices of one chunk are taken at once
    table = table.replace_schema_metadata({"entries": described})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    cache.put_bytes(name, sink.getvalue().to_pybytes())


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
    density_of: dict[str, float | None] = {}
    for key in inputs_first(records):
        record = records[key]
        upstream = {density_of[each] for each in record.inputs.values() if each in density_of}
        density_of[key] = upstream.pop() if len(upstream) == 1 else None
        if record.results.get("density") is not None:
            density_of[key] = float(record.results["density"])
    return density_of
