"""What the data sets held when stages read them, from the stages' records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from orchestrator.store.record import Record

COUNTS = ("images", "classes", "fewest_per_class", "most_per_class")
_TEXTS = ("key", "split", "left_out_files", "fingerprint", "fingerprint_covers")
_TYPES: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, "str"),
    **dict.fromkeys((*COUNTS, "validation_images", "image_size"), "Int64"),
    "prepared": "datetime64[us, UTC]",
}


def data_sets(records: Iterable[Record]) -> pd.DataFrame:
    """Return the frame ``data``, without labels; records of earlier versions have no rows."""
    frame = pd.DataFrame([row for record in records for row in _rows(record)]).reindex(columns=list(_TYPES))
    frame["prepared"] = pd.to_datetime(frame["prepared"].astype("float64"), unit="s", utc=True)
    return frame.astype(_TYPES)


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    held = record.provenance.get("data", {})
    left_out = held.get("left_out_files")
    for split, counts in held.get("splits", {}).items():
        data = record.science.get("setting", {}).get("data", {})
        yield {
            "key": record.key,
            "split": split,
            **{name: counts.get(name, 0) for name in COUNTS},
            "validation_images": held.get("validation_images", 0),
            "left_out_files": None if left_out is None else ", ".join(f"{name} {n:,}" for name, n in left_out.items()),
            "image_size": record.image_size,
            "fingerprint": data.get("fingerprint"),
            "fingerprint_covers": held.get("fingerprint_covers"),
            "prepared": held.get("prepared_unix_s"),
        }
