"""Why a stage is not what the store had already: its nearest record, field by field, and where it began. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.store.record import Record, StageIdentity, StoredPlan

ABSENT = "(absent)"


def known_stages(plans: Iterable[StoredPlan], records: Mapping[str, Record]) -> dict[str, StageIdentity]:
    """Every stage whose science a plan or a record tells, by key; a record counts before any plan.

    Args:
        plans: oldest first.
    """
    planned = {stage.key: stage for plan in plans for stage in plan.identities() if stage.science}
    return {**planned, **records}


@dataclass(frozen=True)
class Change:
    """A field that differs.

    Attributes:
        field: its dotted path.
    """

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Comparison:
    """A stage against a done one.

    Attributes:
        changes: of its own fields; those of labels come first, as ``labels.preset``.
        upstream: by input name, the same for what it reads, where that differs; None if it cannot be told.
    """

    name: str
    key: str
    nearest: str
    changes: list[Change]
    upstream: dict[str, Comparison | None] = field(default_factory=dict)

    def roots(self) -> Iterator[Comparison]:
        """The stages furthest upstream whose own fields differ: there it began."""
        further = [root for upstream in self.upstream.values() if upstream for root in upstream.roots()]
        if further:
            yield from {root.key: root for root in further}.values()
        elif self.changes or not self.upstream:
            yield self


def compare(
    stage: StageIdentity, known: Mapping[str, StageIdentity], records: Mapping[str, StageIdentity]
) -> Comparison | None:
    """A stage against the nearest record of its kind: with the fewest other labels, then the fewest other fields.

    Args:
        known: what is known of any stage, by key; of a stage that was planned only, from its plan.
        records: what is done, by key.

    Returns:
        None if no other record has its kind.
    """
    alike = [record for record in records.values() if record.kind == stage.kind and record.key != stage.key]
    if not alike:
        return None
    fewest = min(len(_relabelled(record, stage)) for record in alike)
    alike = [record for record in alike if len(_relabelled(record, stage)) == fewest]
    nearest = min(alike, key=lambda record: (len(changes(record.science, stage.science)), _moved(record, stage)))
    return _against(stage, nearest, known)


def _relabelled(old: StageIdentity, new: StageIdentity) -> list[Change]:
    return changes(vars(old.labels), vars(new.labels), "labels")


def _moved(old: StageIdentity, new: StageIdentity) -> int:
    return sum(old.inputs.get(slot) != key for slot, key in new.inputs.items())


def _against(stage: StageIdentity, old: StageIdentity, known: Mapping[str, StageIdentity]) -> Comparison:
    upstream: dict[str, Comparison | None] = {}
    for slot, key in stage.inputs.items():
        before = old.inputs.get(slot)
        if before != key:
            new_input, old_input = known.get(key), known.get(before or "")
            upstream[slot] = _against(new_input, old_input, known) if new_input and old_input else None
    own = _relabelled(old, stage) + changes(old.science, stage.science)
    return Comparison(stage.name, stage.key, old.key, own, upstream)


def changes(old: Any, new: Any, path: str = "") -> list[Change]:
    """Every field in which two values differ; a field that one of them lacks is ``ABSENT`` there."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [Change(path, old, new)]
    found = []
    for name in dict.fromkeys([*old, *new]):
        found += changes(old.get(name, ABSENT), new.get(name, ABSENT), f"{path}.{name}" if path else str(name))
    return found
