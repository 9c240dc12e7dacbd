"""Rules of the masks: what a round prunes, that it stays pruned, and that it is exactly 0 in every solution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from analysis.rules.files import TicketFiles
from analysis.rules.result import NotCheckedError, RuleResult
from orchestrator.store.record import Record


def masks(records: Iterable[Record], files: TicketFiles) -> list[RuleResult]:
    """Check the densities reached, nested masks, the largest magnitudes kept, and pruned weights exactly 0.

    All four rules walk from ticket to ticket together, so that each mask is read once.
    """
    densities = RuleResult("Round 0 is dense, and of n survivors each round keeps int((1 − p)·n)")
    nested = RuleResult("A pruned weight stays pruned in every later round")
    magnitudes = RuleResult("Each round prunes the smallest magnitudes, over all layers together")
    alive = RuleResult("No pruned weight is alive: each is exactly 0 in every round and every solution")
    chains = {record.key: record for record in records if record.kind in ("pretrain", "round")}
    solutions = defaultdict(list)
    for record in records:
        if record.kind == "train" and "ticket" in record.inputs:
            mask = record.science.get("transfer", {}).get("mask", "ticket")
            solutions[record.inputs.get(mask, record.inputs["ticket"])].append(record)
    for record in sorted(chains.values(), key=_place):
        densities.check(record.name, partial(_density, record, files))
        if record.kind == "round":
            nested.check(record.name, partial(_regrown, record, files))
            magnitudes.check(record.name, partial(_smaller_kept, record, files))
            alive.check(record.name, partial(_alive, record, record.key, files))
        for solution in solutions.pop(record.key, []):
            alive.check(solution.name, partial(_alive, solution, record.key, files))
    for ticket, orphans in solutions.items():
        for solution in orphans:
            alive.check(solution.name, partial(_alive, solution, ticket, files))
    return [densities, nested, magnitudes, alive]


def stay(survivors: int, prune_fraction: float) -> int:
    """int((1 − p)·n), never one less for a rounding error: 1 − 0.9 is 0.0999…98."""
    return int(round((1 - prune_fraction) * survivors, 6))


def _place(record: Record) -> tuple[str, ...]:
    """Sort key: the rounds of a chain in their order."""
    labels = record.labels
    numbers = (f"{labels.chain or 0:09d}", f"{labels.round or 0:09d}")
    return (labels.dataset, labels.architecture, labels.preset, str(labels.method), *numbers)


def _density(record: Record, files: TicketFiles) -> str | None:
    counts = files.survivors(record.key)
    weights, survive = counts["weights"], counts["survive"]
    if record.kind == "pretrain":
        expected = weights
    elif "prune_fraction" not in record.science:
        raise NotCheckedError("the record does not say how much was pruned")
    else:
        before = files.survivors(_previous(record))["survive"]
        expected = stay(before, _share(record.science))
    if survive != expected:
        return f"{survive:,} of {weights:,} weights survive instead of {expected:,}"
    recorded = record.results.get("density")
    if recorded is not None and abs(recorded * weights - survive) > 0.5:
        return f"{survive:,} of {weights:,} weights survive, but its record says density {recorded:.4g}"
    return None


def _regrown(record: Record, files: TicketFiles) -> str | None:
    check_mask_stays(record)
    regrown = files.regrown(record.key, _previous(record))
    return f"{_weights(regrown)} grew back" if regrown else None


def _share(science: Mapping[str, Any]) -> float:
    """Share of the previous survivors that a round prunes; a one-shot method prunes round 0's weights each time."""
    fraction: float = science["prune_fraction"]
    one_shot = science.get("pruning", {}).get("one_shot", False)
    return 1 - (1 - fraction) ** science["round"] if one_shot else fraction


def _smaller_kept(record: Record, files: TicketFiles) -> str | None:
    if record.science.get("pruning", {}).get("criterion", {}).get("name", "magnitude") != "magnitude":
        raise NotCheckedError("the method does not prune by magnitude")
    check_mask_stays(record)
    pruned = files.smaller_kept(record.key, _previous(record))
    return f"{_weights(pruned)} exceeded a surviving weight" if pruned else None


def _alive(record: Record, ticket: str, files: TicketFiles) -> str | None:
    """Check a solution against its ticket's mask; of a shuffled or permuted one only each layer's count is known."""
    if record.kind == "train":
        check_mask_stays(record)
    shuffled = record.science.get("transfer", {}).get("mask") in ("shuffled", "permuted")
    alive = files.alive(record.key, ticket, shuffled=shuffled)
    return f"{_weights(alive)} alive" if alive else None


def check_mask_stays(record: Record) -> None:
    """Raise ``NotCheckedError`` if a rule of a stage's training changes its mask."""
    training = record.science.get("training")
    rules = training.get("rules") if isinstance(training, Mapping) else None
    if isinstance(rules, Mapping) and rules.get("mask_rule"):
        raise NotCheckedError("a mask rule changes the mask in training")


def _previous(record: Record) -> str:
    return record.inputs.get("previous", "")


def _weights(number: int) -> str:
    return f"{number:,} pruned weight{'' if number == 1 else 's'}"
