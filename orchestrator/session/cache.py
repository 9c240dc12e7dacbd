"""Compares a plan with a store: which stages are done, and which of them must be computed again."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.operating.garbage import to_recompute
from orchestrator.planning.plan import Plan
from orchestrator.store import Store
from orchestrator.store.record import Record


@dataclass(frozen=True)
class CachedStages:
    """A plan's stages in a store.

    Attributes:
        keys: stages that are done and stay so.
        records: all of the store's, by key.
        damaged: a sentence for each done stage that is damaged, by its key or the key's first digits.
        collected: done stages that lack files which this plan needs: ``orchestrator.gc`` removed them.
    """

    keys: list[str]
    records: dict[str, Record]
    damaged: dict[str, str]
    collected: set[str]


def find_cached(plan: Plan, store: Store) -> CachedStages:
    """List the store once, and find the plan's stages in it."""
    damaged: dict[str, str] = {}
    records = store.records(damaged)
    damaged |= {key: sentence for key in records if key in plan.nodes and (sentence := store.damage(key))}
    lacking = [node.key for node in plan if node.key not in records or node.key in damaged]
    collected = to_recompute({node.key: node.inputs.values() for node in plan}, lacking, store.collected())
    keys = [key for key in plan.nodes if key in records and key not in damaged and key not in collected]
    return CachedStages(keys, records, damaged, collected)
