"""The harness of injected faults: every trial ends in a result, and an interrupt keeps those so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.faults.cluster import ClusterStartError
from benchmarks.faults.judge import Reference
from benchmarks.faults.processes import TrialError
from benchmarks.faults.trial import MOST_STARTS, Bench, Fault, Trial, run_trials


class NoReference(Bench):
    """A bench whose trials never reach a sweep."""

    def reference_for(self, ranks: int) -> Reference:
        return Reference.__new__(Reference)


def outcomes(tmp_path: Path, *errors: BaseException) -> list[Any]:
    """Results of one trial on Ray that raises these errors, the last one for ever, and a second trial."""
    left = list(errors)

    def raise_next(_: Trial) -> None:
        raise left.pop(0) if len(left) > 1 else left[0]

    bench = NoReference.__new__(NoReference)
    bench.folder = tmp_path
    trials = [(Fault(name, "", raise_next, "ray"), 0) for name in ("one", "two")]
    return [(r.problem, r.restarts) for r in run_trials(bench, trials, 1, lambda count, result: None)]


def test_a_trial_whose_cluster_does_not_start_is_repeated(tmp_path: Path) -> None:
    late = ClusterStartError("node timed out")
    assert outcomes(tmp_path, late, TrialError("lost")) == [("lost", 1), ("lost", 0)]
    assert outcomes(tmp_path, late) == [("its cluster did not start: node timed out", MOST_STARTS - 1)] * 2


def test_an_unforeseen_error_ends_one_trial_only(tmp_path: Path) -> None:
    assert outcomes(tmp_path, RuntimeError("odd"), TrialError("lost")) == [("RuntimeError('odd')", 0), ("lost", 0)]


def test_an_interrupt_keeps_the_results_so_far(tmp_path: Path) -> None:
    assert outcomes(tmp_path, TrialError("lost"), KeyboardInterrupt()) == [("lost", 0)]
