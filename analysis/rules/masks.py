"""Rules of the masks: what goes in a round, that it never comes back, and that it is exactly 0 in every solution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from analysis.rules.files import Looks
from analysis.rules.finding import Finding, NotLookedError
from orchestrator.store.record import Record


def masks(records: Iterable[Record], looks: Looks) -> list[Finding]:
    """Densities achieved, masks nested, the largest magnitudes kept, no pruned weight alive.

    All four go from ticket to ticket together, so that each mask is read once.
    """
    densities = Finding("Round 0 is dense, and of n survivors each round keeps int((1 − p)·n)")
    nested = Finding("A weight that was pruned stays pruned in every later round")
    magnitudes = Finding("What a round prunes is smallest in magnitude, over all layers together")
    alive = Finding("No pruned weight is alive: each is exactly 0 in every round and every solution")
    chains = {record.key: record for record in records if record.kind in ("pretrain", "round")}
    solutions = defaultdict(list)
    for record in records:
        if record.kind == "train" and "ticket" in record.inputs:
            mask = record.science.get("transfer", {}).get("mask", "ticket")
            solutions[record.inputs.get(mask, record.inputs["ticket"])].append(record)
    for record in sorted(chains.values(), key=_place):
        densities.ask(record.name, partial(_density, record, looks))
        if record.kind == "round":
            nested.ask(record.name, partial(_regrown, record, looks))
            magnitudes.ask(record.name, partial(_smaller_kept, record, looks))
            alive.ask(record.name, partial(_alive, record, record.key, looks))
        for solution in solutions.pop(record.key, []):
            alive.ask(solution.name, partial(_alive, solution, record.key, looks))
    for ticket, orphans in solutions.items():
        for solution in orphans:
            alive.ask(solution.name, partial(_alive, solution, ticket, looks))
    return [densities, nested, magnitudes, alive]


def stay(survivors: int, prune_fraction: float) -> int:
    """int((1 − p)·n), never one less for a rounding error: 1 − 0.9 is 0.0999…98. method.md, "Pruning stages"."""
    return int(round((1 - prune_fraction) * survivors, 6))


def _place(record: Record) -> tuple[str, ...]:
    """The rounds of one chain one after another."""
    labels = record.labels
    numbers = (f"{labels.chain or 0:09d}", f"{labels.round or 0:09d}")
    return (labels.dataset, labels.architecture, labels.preset, str(labels.method), *numbers)


def _density(record: Record, looks: Looks) -> str | None:
    counted = looks.survivors(record.key)
    weights, survive = counted["weights"], counted["survive"]
    if record.kind == "pretrain":
        expected = weights
    elif "prune_fraction" not in record.science:
        raise NotLookedError("the record does not say how much was pruned")
    else:
        before = looks.survivors(_previous(record))["survive"]
        expected = stay(before, _share(record.science))
    if survive != expected:
        return f"{survive:,} of {weights:,} weights survive instead of {expected:,}"
    said = record.results.get("density")
    if said is not None and abs(said * weights - survive) > 0.5:
        return f"{survive:,} of {weights:,} weights survive, which is not the density {said:.4g} of its record"
    return None


def _regrown(record: Record, looks: Looks) -> str | None:
    regrown = looks.regrown(record.key, _previous(record))
    return f"{_weights(regrown)} grew back" if regrown else None


def _share(science: Mapping[str, Any]) -> float:
    """What went of the weights that were alive before; one-shot methods prune round 0's each time."""
    fraction: float = science["prune_fraction"]
    one_shot = science.get("pruning", {}).get("one_shot", False)
    return 1 - (1 - fraction) ** science["round"] if one_shot else fraction


def _smaller_kept(record: Record, looks: Looks) -> str | None:
    if record.science.get("pruning", {}).get("criterion", {}).get("name", "magnitude") != "magnitude":
        raise NotLookedError("a method that goes by something else than magnitude")
    pruned = looks.smaller_kept(record.key, _previous(record))
    return f"{_weights(pruned)} went although a smaller one stayed" if pruned else None


def _alive(record: Record, ticket: str, looks: Looks) -> str | None:
    """A solution's mask is its ticket's; a shuffled one is known by its number in each layer only."""
    shuffled = record.science.get("transfer", {}).get("mask") == "shuffled"
    alive = looks.alive(record.key, ticket, shuffled=shuffled)
    return f"{_weights(alive)} alive" if alive else None


def _previous(record: Record) -> str:
    return record.inputs.get("previous", "")


def _weights(number: int) -> str:
    return f"{number:,} pruned weight{'' if number == 1 else 's'}"
