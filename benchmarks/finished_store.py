"""Write the store of a finished sweep without running one: records and small artifacts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from orchestrator.planning.plan import Node, Plan
from orchestrator.store import Store
from orchestrator.store.layout import stage_folder
from orchestrator.store.record import Record
from workers.attempts.workspace import Artifact
from workers.stages import to_science
from workers.storage import schemas
from workers.storage.artifacts import write_rows

EPOCHS = 10
LAMBDAS = 11
ACCURACY_PERCENT = 90.0


def _parquet(schema: pa.Schema, rows: int, **columns: list[Any]) -> bytes:
    values = {pa.string(): "train", pa.int64(): 1, pa.float64(): 0.5, pa.bool_(): True}
    names = schema.names
    every = zip(*(columns.get(name, [values[schema.field(name).type]] * rows) for name in names), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(path, [dict(zip(names, row, strict=True)) for row in every], schema)
        return path.read_bytes()


_EPOCHS = [*range(1, EPOCHS + 1)]
TRAINED = {
    schemas.METRICS: _parquet(
        schemas.METRICS_SCHEMA,
        2 * EPOCHS,
        epoch=[epoch for epoch in _EPOCHS for _ in range(2)],
        split=["train", "validation"] * EPOCHS,
    ),
    schemas.TIMING: _parquet(schemas.TIMING_SCHEMA, EPOCHS, epoch=_EPOCHS),
    schemas.SIGNS: _parquet(schemas.SIGNS_SCHEMA, EPOCHS, step=_EPOCHS),
}
PROBED = {
    schemas.PROBE: _parquet(
        schemas.PROBE_SCHEMA, LAMBDAS, **{"lambda": [place / (LAMBDAS - 1) for place in range(LAMBDAS)]}
    ),
    schemas.BARRIER: _parquet(schemas.BARRIER_SCHEMA, 1),
}


def write_finished(root: Path, plan: Plan) -> None:
    """Write every stage of a plan as done, without tickets and weights, which no benchmark reads.

    The index of records is there, as after every sweep.
    """
    random = Random(0)
    for node in plan:
        folder = root / stage_folder(node.stage.kind, node.name, node.key)
        out = folder / "attempts" / "1" / "out"
        out.mkdir(parents=True)
        files = PROBED if node.stage.kind == "probe" else TRAINED
        for name, content in files.items():
            (out / name).write_bytes(content)
        (folder / "record.json").write_text(_record(node, files.items(), random).sealed().model_dump_json(indent=1))
    store = Store(root)
    store.records()
    store.write_index()


def _record(node: Node, files: Iterable[tuple[str, bytes]], random: Random) -> Record:
    probed = {"barrier_points": random.uniform(1, 9)}
    trained = {"density": 0.8 ** (node.labels.round or 0), "test_accuracy_percent": ACCURACY_PERCENT + random.random()}
    trained |= {name: random.uniform(1, 9) for name in schemas.SIGNS_RESULTS}
    return Record(
        key=node.key,
        kind=node.stage.kind,
        name=node.name,
        labels=node.labels,
        science=to_science(node.stage),
        inputs=dict(node.inputs),
        attempt=1,
        out="attempts/1/out",
        files={name: Artifact(size_bytes=len(content), blake2b="0" * 32) for name, content in files},
        results=probed if node.stage.kind == "probe" else trained,
        seconds=random.uniform(1, 2),
        finished_unix_s=1.0,
        provenance={"device": "cpu (none used)", "packages": {}},
    )
