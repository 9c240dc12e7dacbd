"""Says from where a sweep goes on: how many stages are done, and which continue from checkpoints."""

from __future__ import annotations

import re
from collections.abc import Collection

from orchestrator.planning.plan import Node, Plan
from orchestrator.store import Store
from workers.stages import Imported, Landscape, PairProbe, Probe

NAMED = 3
"""Stages with checkpoints to name at most."""
_CHECKPOINT = re.compile(r"([0-9]{5,9})-[0-9]{7,12}\.safetensors")


def resumes_from(plan: Plan, done: Collection[str], store: Store) -> str:
    """Return a sentence about what is done and what continues from where; the store's last listing is read.

    Args:
        done: keys of the stages that are not computed again.
    """
    started = [text for node in plan if node.key not in done and (text := _checkpoint(node, store))]
    if not done and not started:
        return f"{len(plan)} stages to compute in {store.root}."
    text = f"Resuming: {len(done)} of {len(plan)} stages in {store.root} are done"
    if not started:
        return f"{text}."
    more = f", and {len(started) - NAMED} more" if len(started) > NAMED else ""
    stages = "1 stage continues from a checkpoint" if len(started) == 1 else f"{len(started)} continue from checkpoints"
    return f"{text}; {stages}: {', '.join(started[:NAMED])}{more}."


def _checkpoint(node: Node, store: Store) -> str:
    """Name a stage and the epoch that its furthest checkpoint stands in; empty without one."""
    files = store.stage(node.key)
    match = _CHECKPOINT.fullmatch(files.checkpoint) if files is not None else None
    if match is None:
        return ""
    if isinstance(node.stage, Imported | Probe | PairProbe | Landscape):
        return node.name
    last = node.stage.training.span.stop
    return f"{node.name} (epoch {min(int(match[1]) + 1, last)} of {last})"
