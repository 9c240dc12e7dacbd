"""Compare a stage with the nearest record, field by field: why it has to be computed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from orchestrator.store.plans import StoredPlan
from orchestrator.store.record import Labels, Record, StageIdentity, in_circles, inputs_first

_LABELS = tuple(each.name for each in fields(Labels))
ABSENT = "(absent)"


def known_stages(plans: Iterable[StoredPlan], records: Mapping[str, Record]) -> dict[str, StageIdentity]:
    """Every stage with science in a plan or a record, by key; records win over plans, later plans over earlier ones.

    Stages that are inputs of their own inputs are left out: no sweep planned them.
    """
    planned = {stage.key: stage for plan in plans for stage in plan.identities(besides=records) if stage.science}
    known: dict[str, StageIdentity] = {**planned, **records}
    for key in in_circles({key: stage.inputs.values() for key, stage in known.items()}):
        del known[key]
    return known


@dataclass(frozen=True)
class Change:
    """A field that differs, by its dotted path."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Comparison:
    """A stage compared with a record.

    Attributes:
        nearest: key of the record.
        changes: fields of the stage itself that differ; labels come first, as ``labels.preset``.
        upstream: keys of the inputs that differ, by input name; None if an input's fields are unknown, here or there.
    """

    name: str
    key: str
    nearest: str
    changes: list[Change]
    upstream: dict[str, str | None] = field(default_factory=dict)


def compare(
    stage: StageIdentity, stages: Mapping[str, StageIdentity], records: Mapping[str, StageIdentity]
) -> Comparison | None:
    """Compare a stage with the nearest record of its kind: fewest different labels, then fewest different fields.

    Args:
        stages: planned and recorded stages, by key.
        records: recorded stages, by key.

    Returns:
        None if the stage's kind has no other record.
    """
    candidates = [record for record in records.values() if record.kind == stage.kind and record.key != stage.key]
    if not candidates:
        return None
    changed_labels = [len(_label_changes(record, stage)) for record in candidates]
    fewest = min(changed_labels)
    nearest_by_labels = (r for r, changed in zip(candidates, changed_labels, strict=True) if changed == fewest)

    def distance(record: StageIdentity) -> tuple[int, int]:
        changed_inputs = sum(record.inputs.get(slot) != key for slot, key in stage.inputs.items())
        return len(changes(record.science, stage.science)), changed_inputs

    return _compare_with(stage, min(nearest_by_labels, key=distance), stages)


def root_causes(comparison: Comparison, stages: Mapping[str, StageIdentity]) -> list[Comparison]:
    """The stages furthest upstream whose own fields differ: the causes of all other differences.

    Args:
        comparison: from ``compare``.
        stages: planned and recorded stages, by key.
    """
    compared = {comparison.key: comparison}
    pending = [comparison]
    while pending:
        reader = pending.pop()
        for slot, key in reader.upstream.items():
            if key is not None and key not in compared:
                compared[key] = _compare_with(stages[key], stages[stages[reader.nearest].inputs[slot]], stages)
                pending.append(compared[key])
    behind: dict[str, bool] = {}  # whether a cause lies in the stage or upstream of it
    roots = []
    for key in inputs_first(stages, [comparison.key]):
        if key in compared:
            each = compared[key]
            behind[key] = any(behind[upstream] for upstream in each.upstream.values() if upstream is not None)
            if not behind[key] and (each.changes or not each.upstream):
                behind[key] = True
                roots.append(each)
    return roots


def _label_changes(old: StageIdentity, new: StageIdentity) -> list[Change]:
    return changes(_by_name(old.labels), _by_name(new.labels), "labels")


def _by_name(labels: Labels) -> dict[str, Any]:
    return {name: getattr(labels, name) for name in _LABELS}  # asdict copies each value: a second in 100,000 stages


def _compare_with(stage: StageIdentity, old: StageIdentity, stages: Mapping[str, StageIdentity]) -> Comparison:
    differing = {slot: key for slot, key in stage.inputs.items() if old.inputs.get(slot) != key}
    upstream = {s: key if key in stages and old.inputs.get(s) in stages else None for s, key in differing.items()}
    own_changes = _label_changes(old, stage) + changes(old.science, stage.science)
    return Comparison(stage.name, stage.key, old.key, own_changes, upstream)


def changes(old: Any, new: Any, path: str = "") -> list[Change]:
    """Every field in which two values differ; a field that one value lacks is ``ABSENT`` there."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [Change(path, old, new)]
    differing = []
    for name in dict.fromkeys([*old, *new]):
        differing += changes(old.get(name, ABSENT), new.get(name, ABSENT), f"{path}.{name}" if path else str(name))
    return differing
