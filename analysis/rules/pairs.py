"""Rules of comparisons: probed pairs, stability pairs, and the two methods' chains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from analysis.rules.masks import check_mask_stays
from analysis.rules.result import NotCheckedError, RuleResult
from orchestrator.store.record import Record


def same_masks(probes: Iterable[Record], records: Mapping[str, Record]) -> RuleResult:
    """Check that both ends of a probe share a mask: they come from one ticket, and the probe saw one mask.

    Args:
        records: all of the store, by key.
    """
    result = RuleResult("Both solutions of a probed pair have the same mask")
    for probe in probes:
        result.check(probe.name, partial(_masks_differ, probe, records))
    return result


def sgd_noise_only(probes: Iterable[Record], records: Mapping[str, Record]) -> RuleResult:
    """Check that the two trainings of a stability pair differ in their SGD seed alone."""
    result = RuleResult("A stability pair differs in its SGD seed alone")
    for probe in probes:
        if probe.labels.probe == "stability":
            result.check(probe.name, partial(_more_than_noise, probe, records))
    return result


def same_initialisation(records: Iterable[Record]) -> RuleResult:
    """Check that both methods' chains of one number start from the same weights: by seed, and by drawn values."""
    result = RuleResult("Both methods of a chain start from the same initialisation")
    starts = defaultdict(list)
    for record in records:
        if record.kind == "pretrain":
            labels = record.labels
            starts[labels.dataset, labels.architecture, labels.preset, labels.chain].append(record)
    for chain in starts.values():
        if len({record.labels.method for record in chain}) > 1:
            result.check(" and ".join(sorted(record.name for record in chain)), partial(_starts_differ, chain))
        else:
            result.unchecked["the chain's other method is not done"] += 1
    return result


def agree(one: Any, other: Any) -> bool:
    """Whether two settings are equal in every field that both have; a field that older code lacked had its default."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(agree(one[name], other[name]) for name in one.keys() & other.keys())
    return bool(one == other)


def _masks_differ(probe: Record, records: Mapping[str, Record]) -> str | None:
    a, b = _ends(probe, records)
    masks = [end.science.get("transfer", {}).get("mask", "ticket") for end in (a, b)]
    if set(masks) != {"ticket"} and probe.labels.probe == "lmc":
        raise NotCheckedError("a shuffled or permuted mask, or another round's, is not its ticket's")
    if a.inputs.get("ticket") != b.inputs.get("ticket"):
        return f"its ends come from two tickets, of {a.name} and {b.name}"
    for end in (a, b):
        check_mask_stays(end)
    if set(masks) == {"shuffled"} and a.science.get("init_seed") != b.science.get("init_seed"):
        return "its ends' masks were shuffled differently"
    if "same_mask" not in probe.results:
        raise NotCheckedError("the probe does not say")
    return None if probe.results["same_mask"] else "the probe found two masks"


def _more_than_noise(probe: Record, records: Mapping[str, Record]) -> str | None:
    a, b = _ends(probe, records)
    if "sgd_seed" not in a.science or "sgd_seed" not in b.science:
        raise NotCheckedError("the record does not say the seeds")
    if a.science["sgd_seed"] == b.science["sgd_seed"]:
        return "both ends have the same SGD seed"
    differ = [name for name in a.science if name != "sgd_seed" and not agree(a.science[name], b.science.get(name))]
    differ += [name for name in a.inputs.keys() | b.inputs.keys() if a.inputs.get(name) != b.inputs.get(name)]
    return f"its ends differ in {', '.join(sorted(differ))} too" if differ else None


def _starts_differ(chain: list[Record]) -> str | None:
    if not all("init_seed" in record.science for record in chain):
        raise NotCheckedError("the record does not say the seeds")
    if len({record.science["init_seed"] for record in chain}) > 1:
        return "two initialisation seeds"
    drawn = {record.results["init_blake2b"] for record in chain if "init_blake2b" in record.results}
    return "one seed but two initialisations" if len(drawn) > 1 else None


def _ends(probe: Record, records: Mapping[str, Record]) -> tuple[Record, Record]:
    try:
        return records[probe.inputs["a"]], records[probe.inputs["b"]]
    except KeyError:
        raise NotCheckedError("the store no longer has a probed solution") from None
