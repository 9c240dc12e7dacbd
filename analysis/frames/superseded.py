"""Superseded results: a newer result has the same name, and figures leave the older one out.

Labels hold neither hyper-parameters nor seeds, so a store in which a sweep was repeated with, say, twice the epochs has
two results under one name. A figure must never average them. The recipe of the last sweep counts, else the newest
recipe; within a recipe, the newest result of each name counts. Results computed from superseded stages are superseded.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

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
    recipes = {
        record.key: {(*slots[record.key], *more): _in_words(part) for more, part in shared_recipes(record).items()}
        for record in by_age
    }
    newest_recipe = {slot: recipe for record in by_age for slot, recipe in recipes[record.key].items()}
    newest_key = {(record.labels, *slots[record.key]): record.key for record in by_age}
    replaced = [
        key
        for key, record in records.items()
        if any(newest_recipe[slot] != recipe for slot, recipe in recipes[key].items())
        or key != newest_key[record.labels, *slots[key]]
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

    A method that rewinds, or trains to completion, has its own trainings, and so has the beginning of a chain or of a
    dense training. Probes other than barriers have a recipe per probe. Some starts are not trained by the final
    training.
    """
    if record.kind == "pair_probe":
        return (str(record.science.get("probe")),)
    if record.kind not in ("pretrain", "round", "train"):
        return ()
    stop = record.science.get("training", {}).get("stop_after")
    begun = () if stop is None else (f"epoch {stop}",)
    if record.kind == "train":
        return (record.labels.transfer,) if record.labels.transfer in OWN_TRAINING else begun
    method = record.labels.method
    return (*(() if method in ONE_RECIPE else (str(method),)), *begun)


def shared_recipes(record: Record) -> dict[tuple[str, ...], Any]:
    """Return a stage's recipe by what is added to its slot: () for what all share, and for trainings two parts more.

    The trainings of one start share the epoch at which they begin (``first_epochs``), and those with masks their mask
    rule. Dense trainings have no mask rule, and share all else with the trainings of tickets.
    """
    recipe = {name: value for name, value in record.science.items() if name not in IDENTITY}
    training = recipe.get("training")
    rules = training.get("rules") if isinstance(training, Mapping) else None
    if record.kind != "train" or not isinstance(training, Mapping):
        return {(): recipe}
    others = {name: rule for name, rule in (rules or {}).items() if name != "mask_rule"}
    common = {name: value for name, value in training.items() if name != "first_epoch"}
    shared: dict[tuple[str, ...], Any] = {
        (): {**recipe, "training": {**common, "rules": others}},
        ("first epoch", str(record.labels.transfer)): training.get("first_epoch", 0),
    }
    return shared if record.labels.transfer == "dense" else {**shared, ("mask rule",): (rules or {}).get("mask_rule")}


def _in_words(recipe: Any) -> str:
    return json.dumps(_with_values(recipe), sort_keys=True, default=str)


def _with_values(part: Any) -> Any:
    """Leave out fields without a value: records of versions that did not have the field yet lack it."""
    if not isinstance(part, Mapping):
        return part
    inner = {name: _with_values(value) for name, value in part.items()}
    return {name: value for name, value in inner.items() if value is not None and value != {}}
