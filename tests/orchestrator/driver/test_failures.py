"""The decision on a failed attempt, as a table."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.driver.failures import BUDGET, Ended, History, cause_of, classify
from orchestrator.store.record import Cause


def raised(error_type: str, message: str = "") -> Ended:
    return Ended("raised", error_type, message)


def words_of_a_full_host() -> str:
    """This torch's message when the host has no memory left."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    return str(caught.value)


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        (Ended("node", "WorkerLost", "NodeDiedError"), Cause.PREEMPTION),
        (Ended("drained", "Drained"), Cause.PREEMPTION),
        (Ended("process", "WorkerLost", "killed"), Cause.CRASH),
        (Ended("hung", "WorkerLost"), Cause.CRASH),
        (raised("OutOfMemoryError", "CUDA out of memory"), Cause.CRASH),
        (raised("MemoryError"), Cause.CRASH),
        (raised("RuntimeError", "DataLoader worker (pid 12) is killed by signal: Killed."), Cause.CRASH),
        (raised("RuntimeError", "DataLoader worker (pid(s) 12, 13) exited unexpectedly"), Cause.CRASH),
        (raised("RuntimeError", words_of_a_full_host()), Cause.CRASH),
        (raised("RanksDisagreeError", "the start on rank 1 of 2 differs"), Cause.CRASH),
        (raised("RuntimeError", "CUDA driver initialization failed, you might not have a CUDA gpu"), Cause.TRANSIENT),
        (raised("DistBackendError", "NCCL error: remote process exited"), Cause.TRANSIENT),
        (raised("StorageError", "s3://bucket: 503 Slow Down"), Cause.TRANSIENT),
        (raised("OSError", "[Errno 28] No space left on device"), Cause.TRANSIENT),
        (raised("SafetensorError", "Error while serializing: No space left on device (os error 28)"), Cause.TRANSIENT),
        (raised("StoreError", "out/weights.safetensors was not written whole"), Cause.TRANSIENT),
        (raised("RuntimeError", "mat1 and mat2 shapes cannot be multiplied"), Cause.APPLICATION),
        (raised("DivergedError", "the training loss is nan"), Cause.APPLICATION),
        (raised("DataError", "no such image"), Cause.APPLICATION),
        (raised("OSError", "[Errno 2] No such file"), Cause.APPLICATION),
        (raised("StoreError", "no valid record"), Cause.APPLICATION),
        (raised("ValueError", "No space left on device"), Cause.APPLICATION),
    ],
)
def test_every_bad_end_has_one_cause(ended: Ended, cause: Cause) -> None:
    assert cause_of(ended) is cause


ENDS = {
    Cause.PREEMPTION: Ended("node"),
    Cause.CRASH: Ended("process"),
    Cause.TRANSIENT: raised("StorageError"),
    Cause.APPLICATION: raised("ValueError"),
}


@pytest.mark.parametrize(("cause", "budget"), [*BUDGET.items()])
def test_without_progress_every_cause_has_a_budget_and_an_end(cause: Cause, budget: int) -> None:
    history, retries = History(), 0
    while classify(ENDS[cause], history).retry:
        history.add(cause, advanced=False)
        retries += 1
    assert retries == budget == {"preemption": 5, "crash": 3, "transient": 2, "application": 0}[cause]


def test_a_preempted_stage_that_advances_is_repeated_for_ever() -> None:
    history = History()
    for _ in range(100):
        ended = Ended("node", advanced=True)
        assert classify(ended, history).retry
        history.add(Cause.PREEMPTION, advanced=True)
    for _ in range(5):
        assert classify(Ended("node"), history).retry
        history.add(Cause.PREEMPTION, advanced=False)
    assert not classify(Ended("node"), history).retry


def test_a_crash_that_advances_still_counts() -> None:
    history = History()
    for _ in range(3):
        assert classify(Ended("process", advanced=True), history).retry
        history.add(Cause.CRASH, advanced=True)
    assert not classify(Ended("process", advanced=True), history).retry


@given(st.lists(st.sampled_from(list(Cause)), max_size=30))
def test_causes_do_not_draw_on_each_others_budgets(ends: list[Cause]) -> None:
    history = History()
    for cause in ends:
        history.add(cause, advanced=False)
    for cause, budget in BUDGET.items():
        assert classify(ENDS[cause], history).retry is (ends.count(cause) < budget)


def test_a_transient_failure_gets_a_pause() -> None:
    history = History()
    first = classify(ENDS[Cause.TRANSIENT], history)
    history.add(Cause.TRANSIENT, advanced=False)
    second = classify(ENDS[Cause.TRANSIENT], history)
    assert 0 < first.pause_s < second.pause_s
    assert classify(ENDS[Cause.CRASH], history).pause_s == 0


def test_the_reason_states_the_decision() -> None:
    history = History()
    assert classify(ENDS[Cause.CRASH], history).reason == "crash: retry 1 of 3"
    history.ends[Cause.CRASH] = 3
    assert "no retry left" in classify(ENDS[Cause.CRASH], history).reason
    assert "would happen again" in classify(ENDS[Cause.APPLICATION], history).reason
    assert "resumes" in classify(Ended("drained", advanced=True), history).reason
