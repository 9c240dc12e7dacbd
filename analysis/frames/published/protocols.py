"""How each training was done: the settings by which a published result is, or is not, like for like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from orchestrator.store.record import Record

_TYPES = {
    "key": "str",
    "optimizer": "str",
    "learning_rate": "float64",
    "momentum": "float64",
    "weight_decay": "float64",
    "batch_size": "float64",
    "schedule": "str",
    "epochs": "float64",
    "training_share": "float64",
    "image_size": "float64",
}


def protocols(records: Mapping[str, Record]) -> pd.DataFrame:
    """Return a row per training, with the settings of ``analysis.frames.published.reading``.

    A network that is tested as it is (``round_end``) has the settings of the round that trained it.

    Returns:
        ``key``, ``optimizer``, ``learning_rate`` (the schedule's full value), ``momentum``, ``weight_decay``,
        ``batch_size`` (images), ``schedule`` in words, ``epochs``, ``training_share`` of the training images, and
        ``image_size`` (side in pixels; NaN if images have the data set's own size, or streamed ones the usual 224).
    """
    return pd.DataFrame(_rows(records), columns=list(_TYPES)).astype(_TYPES)


def _rows(records: Mapping[str, Record]) -> Iterator[dict[str, Any]]:
    for key, record in records.items():
        trained = records.get(record.inputs.get("ticket", "")) if record.labels.transfer == "round_end" else record
        training = {} if trained is None else trained.science.get("training", {})
        if trained is None or "optimizer" not in training:
            continue
        optimizer, stop = training["optimizer"], training.get("stop_after")
        data = trained.science.get("setting", {}).get("data", {})
        yield {
            "key": key,
            "optimizer": optimizer.get("name"),
            **{name: optimizer.get(name) for name in ("learning_rate", "momentum", "weight_decay")},
            "batch_size": training.get("batch_size"),
            "schedule": _in_words(training.get("schedule", {})),
            "epochs": (training["epochs"] if stop is None else stop) - training.get("first_epoch", 0),
            "training_share": 1 - data.get("validation_fraction", 0),
            "image_size": trained.image_size,
        }


def _in_words(schedule: Mapping[str, Any]) -> str:
    name, factor = schedule.get("name", "constant"), schedule.get("factor", 0)
    if name == "steps":
        return f"x{factor:g} at {', '.join(str(epoch) for epoch in schedule.get('milestones', ()))}"
    return f"cosine to x{factor:g}" if name == "cosine" and factor else str(name)
