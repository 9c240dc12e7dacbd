"""Superseded results: a newer result has the same name, and figures leave the older one out.

Labels hold neither hyper-parameters nor seeds, so a store in which a sweep was repeated with, say, twice the epochs has
two results under one name. A figure must never average them. The recipe of the last sweep counts, else the newest
recipe; within a recipe, the newest result of each name counts. Results computed from superseded stages are superseded.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping

from orchestrator.store.plans import blocked
from orchestrator.store.record import Record

# These fields vary within one experiment; a stage's other fields are its recipe. Alpha's distribution belongs to AWS
# alone: LRR has none to share.
IDENTITY = frozenset(
    {"init_seed", "sgd_seed", "draw_seed", "round", "method", "alpha", "transfer", "ticket_blake2b", "weights_blake2b"}
)
OWN_TRAINING = frozenset({"dense_same_budget", "round_end"})  # starts with other epochs than the final training
ONE_RECIPE = frozenset({None, "aws", "lrr"})  # methods that differ in psi alone share their recipe


def superseded(records: Mapping[str, Record], wanted: Container[str]) -> set[str]:
    """Return the keys of the stages that figures leave out."""
    by_age = sorted(records.values(), key=lambda record: (record.key in wanted, record.finished_unix_s))
    slots = {record.key: _slot(record) for record in by_age}
    recipes = {record.key: _recipe(record) for record in by_age}
    newest_recipe = {slots[record.key]: recipes[record.key] for record in by_age}
    newest_key = {(record.labels, *slots[record.key]): record.key for record in by_age}
    replaced = [
        key
        for key, record in records.items()
        if recipes[key] != newest_recipe[slots[key]] or key != newest_key[record.labels, *slots[key]]
    ]
    return {*replaced} | blocked(replaced, {key: record.inputs.values() for key, record in records.items()})


def _slot(record: Record) -> tuple[str, ...]:
    """Return the labels of all stages that must share a recipe, since figures compare them.

    A landscape has its own slot: only a landscape through the same solutions answers the same question.
    """
    labels = record.labels
    solutions = sorted(record.inputs.values()) if record.kind == "landscape" else ()
    return (labels.dataset, labels.architecture, labels.preset, record.kind, *own_recipe(record), *solutions)


def own_recipe(record: Record) -> tuple[str, ...]:
    """Return what sets a stage's recipe apart from others of its kind; empty if they share one recipe.

    A method that rewinds, or trains to completion, has its own trainings, and so has the beginning of a chain. Probes
    other than barriers have a recipe per probe. Some starts are not trained by the final training.
    """
    if record.kind == "pair_probe":
        return (str(record.science.get("probe")),)
    if record.kind == "train":
        return (record.labels.transfer,) if record.labels.transfer in OWN_TRAINING else ()
    if record.kind not in ("pretrain", "round"):
        return ()
    method, stop = record.labels.method, record.science.get("training", {}).get("stop_after")
    return (*(() if method in ONE_RECIPE else (str(method),)), *(() if stop is None else (f"epoch {stop}",)))


def _recipe(record: Record) -> str:
    fields = {name: value for name, value in record.science.items() if name not in IDENTITY}
    return json.dumps(fields, sort_keys=True, default=str)
