"""How far a store has come with a plan: what is done, and what of it has to be made anew."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.operating.garbage import made_anew
from orchestrator.planning.plan import Plan
from orchestrator.store import Store
from orchestrator.store.record import Record


@dataclass(frozen=True)
class Standing:
    """A plan's stages in a store.

    Attributes:
        records: all of the store's, by key.
        damaged: what is wrong with stages that were done, by key or its first digits.
        collected: stages that were done and lack files that this plan needs: ``orchestrator.gc`` took them.
        cached: keys that are done.
    """

    records: dict[str, Record]
    damaged: dict[str, str]
    collected: set[str]
    cached: list[str]


def standing(plan: Plan, store: Store) -> Standing:
    """Look, by one listing."""
    damaged: dict[str, str] = {}
    records = store.records(damaged)
    damaged |= {key: what for key in records if key in plan.nodes and (what := store.damage(key))}
    lacking = [node.key for node in plan if node.key not in records or node.key in damaged]
    again = made_anew({node.key: node.inputs.values() for node in plan}, lacking, store.collected())
    cached = [key for key in plan.nodes if key in records and key not in damaged and key not in again]
    return Standing(records, damaged, again, cached)
