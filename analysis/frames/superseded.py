"""Which stages a store's sweeps want now, and which results newer ones of the same name have superseded.

Labels hold neither hyper-parameters nor the numbers behind the seeds, so a store in which a sweep was repeated with,
say, twice the epochs has two answers to one question. A figure must never average them: the recipe of the last sweep
counts, else the newest, and of one recipe the newest result of each name; what was made from a superseded stage is
superseded too.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from functools import cache

from orchestrator.store.record import Record

# What tells the repetitions and arms of one experiment apart; the rest of a stage's fields is its recipe. Alpha's
# distribution is AWS's own, and LRR has none: it cannot be shared.
IDENTITY = frozenset({"init_seed", "sgd_seed", "draw_seed", "round", "method", "alpha", "transfer"})
ONE_RECIPE = frozenset({None, "aws", "lrr"})  # methods that train alike but for psi, and so must share their recipe


def superseded(records: Mapping[str, Record], wanted: Container[str]) -> set[str]:
    """Keys of the stages that must be left out of figures."""
    by_age = sorted(records.values(), key=lambda record: (record.key in wanted, record.finished_unix_s))
    newest_recipe = {_slot(record): _recipe(record) for record in by_age}
    newest_key = {(record.labels, *_slot(record)): record.key for record in by_age}

    @cache
    def is_old(key: str) -> bool:
        if key not in records:
            return False
        record = records[key]
        return (
            _recipe(record) != newest_recipe[_slot(record)]
            or record.key != newest_key[record.labels, *_slot(record)]
            or any(is_old(upstream) for upstream in record.inputs.values())
        )

    return {key for key in records if is_old(key)}


def _slot(record: Record) -> tuple[str, ...]:
    """What is compared with each other, and so must share a recipe: methods, transfers and kinds of probe alike.

    A landscape stands for itself: only another one through the same solutions answers the same question.
    """
    labels = record.labels
    solutions = sorted(record.inputs.values()) if record.kind == "landscape" else ()
    return (labels.dataset, labels.architecture, labels.preset, record.kind, *own_recipe(record), *solutions)


def own_recipe(record: Record) -> tuple[str, ...]:
    """What tells a stage's recipe from those of others of its kind; empty where they share one.

    A method that goes back, or is trained to completion, has trainings of its own, and so has a chain's beginning. What
    pairs are measured for beside their barrier is one thing for each probe's name.
    """
    if record.kind == "pair_probe":
        return (str(record.science.get("probe")),)
    if record.kind not in ("pretrain", "round"):
        return ()
    method, stop = record.labels.method, record.science.get("training", {}).get("stop_after")
    return (*(() if method in ONE_RECIPE else (str(method),)), *(() if stop is None else (f"epoch {stop}",)))


def _recipe(record: Record) -> str:
    fields = {name: value for name, value in record.science.items() if name not in IDENTITY}
    return json.dumps(fields, sort_keys=True, default=str)
