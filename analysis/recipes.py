"""Which results were made with other hyper-parameters than the newest of the same name.

Labels do not hold hyper-parameters, so a store in which a sweep was repeated with, say, twice the epochs has two
answers to one question. A figure must never average them: the newest recipe counts, and the rest is superseded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from orchestrator.record import Record

# What tells the repetitions and arms of one experiment apart; the rest of a stage's fields is its recipe.
_IDENTITY = frozenset({"init_seed", "sgd_seed", "draw_seed", "round", "method", "transfer"})


def superseded(records: Mapping[str, Record]) -> set[str]:
    """Keys of the stages whose recipe, or an input's, is not the newest of its kind."""
    newest = {_slot(r): _recipe(r) for r in sorted(records.values(), key=lambda r: r.finished_unix_s)}

    @cache
    def is_old(key: str) -> bool:
        if key not in records:
            return False
        record = records[key]
        return _recipe(record) != newest[_slot(record)] or any(is_old(up) for up in record.inputs.values())

    return {key for key in records if is_old(key)}


def _slot(record: Record) -> tuple[str | None, ...]:
    labels = record.labels
    setting = (labels.dataset, labels.architecture, labels.preset)
    return (*setting, record.kind, labels.method, labels.transfer, labels.probe)


def _recipe(record: Record) -> str:
    fields = {name: value for name, value in record.science.items() if name not in _IDENTITY}
    return json.dumps(fields, sort_keys=True, default=str)
