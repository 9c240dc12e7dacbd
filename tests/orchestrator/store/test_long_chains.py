"""Chains of inputs longer than Python's recursion limit, as no sweep plans them but anybody can write them."""

from __future__ import annotations

import hashlib
import time

from analysis.frames.results import densities
from analysis.frames.superseded import superseded
from orchestrator.planning.comparison import compare, known_stages, root_causes
from orchestrator.store.record import Labels, Record, inputs_first

LENGTH = 5000


def chain(name: str, first_rate: float = 0.1) -> dict[str, Record]:
    """Records of which each is the only input of the next; the first holds the density and the rate."""
    records: dict[str, Record] = {}
    before: dict[str, str] = {}
    for number in range(LENGTH):
        key = hashlib.blake2b(f"{name}{number}".encode(), digest_size=16).hexdigest()
        records[key] = Record(
            key=key,
            kind="round",
            name=f"n/{number}",
            labels=Labels(dataset="n", architecture="a", preset="sound", method="aws", round=number),
            inputs=before,
            science={"rate": first_rate if not number else 0.1},
            attempt=1,
            files={},
            results={} if number else {"density": 0.5},
            seconds=1.0,
            finished_unix_s=time.time(),
            provenance={},
        )
        before = {"previous": key}
    return dict(reversed(records.items()))


def test_a_stage_comes_after_its_inputs() -> None:
    records = chain("one")
    assert inputs_first(records) == list(reversed(records))
    fourth = list(reversed(records))[3]
    assert inputs_first(records, [fourth]) == list(reversed(records))[:4]


def test_the_report_reads_a_long_chain() -> None:
    records = chain("one")
    assert set(densities(records).values()) == {0.5}
    assert superseded(records, records.keys()) == set()


def test_the_cause_of_a_difference_is_found_at_the_far_end_of_a_long_chain() -> None:
    old, new = chain("old"), chain("new", first_rate=0.2)
    known = known_stages([], old | new)
    last = next(iter(new))
    comparison = compare(new[last], known, old)
    assert comparison is not None
    assert comparison.changes == []
    [root] = root_causes(comparison, known)
    assert root.name == "n/0"
    assert [(change.field, change.old, change.new) for change in root.changes] == [("rate", 0.1, 0.2)]
