"""Compare a stage with the nearest record, field by field: why it has to be computed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.store.plans import StoredPlan
from orchestrator.store.record import Record, StageIdentity

ABSENT = "(absent)"


def known_stages(plans: Iterable[StoredPlan], records: Mapping[str, Record]) -> dict[str, StageIdentity]:
    """Every stage with science in a plan or a record, by key; records win over plans, later plans over earlier ones."""
    planned = {stage.key: stage for plan in plans for stage in plan.identities() if stage.science}
    return {**planned, **records}


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
        upstream: comparisons of the inputs that differ, by input name; None if a stage's fields are unknown.
    """

    name: str
    key: str
    nearest: str
    changes: list[Change]
    upstream: dict[str, Comparison | None] = field(default_factory=dict)

    def roots(self) -> Iterator[Comparison]:
        """The stages furthest upstream whose own fields differ: the causes of all other differences."""
        roots = [root for upstream in self.upstream.values() if upstream for root in upstream.roots()]
        if roots:
            yield from {root.key: root for root in roots}.values()
        elif self.changes or not self.upstream:
            yield self


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
    fewest = min(len(_label_changes(record, stage)) for record in candidates)

    def distance(record: StageIdentity) -> tuple[int, int]:
        changed_inputs = sum(record.inputs.get(slot) != key for slot, key in stage.inputs.items())
        return len(changes(record.science, stage.science)), changed_inputs

    nearest = min((record for record in candidates if len(_label_changes(record, stage)) == fewest), key=distance)
    return _compare_with(stage, nearest, stages)


def _label_changes(old: StageIdentity, new: StageIdentity) -> list[Change]:
    return changes(vars(old.labels), vars(new.labels), "labels")


def _compare_with(stage: StageIdentity, old: StageIdentity, stages: Mapping[str, StageIdentity]) -> Comparison:
    upstream: dict[str, Comparison | None] = {}
    for slot, key in stage.inputs.items():
        before = old.inputs.get(slot)
        if before != key:
            new_input, old_input = stages.get(key), stages.get(before or "")
            upstream[slot] = _compare_with(new_input, old_input, stages) if new_input and old_input else None
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
