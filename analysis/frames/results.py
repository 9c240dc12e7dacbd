"""Results of stages: the tables beside the records, one kind of file of all stages at a time, and the density."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.frames.several import Reader
from orchestrator.store.record import Record, inputs_first
from tickets.files.tables import read_rows
from workers.storage.schemas import OPTIONAL_COLUMNS


def read_results(
    reader: Reader, records: Iterable[Record], file: str, schema: pa.Schema, left_out: MutableMapping[str, str]
) -> pd.DataFrame:
    """Read one kind of file of all stages; each row has its stage's key.

    Args:
        left_out: receives a sentence for each file that cannot be read, by its path.
    """
    tables = {}
    files = [(record.key, file) for record in records if file in record.files]
    for (key, _), path in reader.local(files, unreadable=left_out).items():
        try:
            tables[key] = read_rows(path, schema, OPTIONAL_COLUMNS)
        except OSError as error:
            left_out[str(path)] = str(error)
    frame = pa.concat_tables([schema.empty_table(), *tables.values()]).to_pandas()
    keys = np.repeat(np.array([*tables], dtype=object), [table.num_rows for table in tables.values()])
    return frame.assign(key=pd.Series(keys, dtype="str"))


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
