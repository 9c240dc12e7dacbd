"""The decision on a failed attempt, as a table."""

from __future__ import annotations

import pytest

from orchestrator.failures import BUDGET, Cause, decide


@pytest.mark.parametrize(
    ("cause", "earlier", "retry"),
    [
        (Cause.CRASH, 0, True),
        (Cause.CRASH, 1, True),
        (Cause.CRASH, 2, True),
        (Cause.CRASH, 3, False),
        (Cause.CRASH, 4, False),
        (Cause.APPLICATION, 0, False),
        (Cause.APPLICATION, 1, False),
    ],
)
def test_a_crash_is_tried_again_within_its_budget_and_an_application_error_never(
    cause: Cause, earlier: int, retry: bool
) -> None:
    assert decide(cause, earlier).retry is retry


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_budget_and_an_end(cause: Cause) -> None:
    attempts = 1
    while decide(cause, attempts - 1).retry:
        attempts += 1
    assert attempts == BUDGET[cause] + 1


def test_the_reason_counts_attempts_as_a_person_does() -> None:
    assert decide(Cause.CRASH, 0).reason == "crash: attempt 2 of 4"
    assert decide(Cause.CRASH, 2).reason == "crash: attempt 4 of 4"
    assert "no attempt left" in decide(Cause.CRASH, 3).reason
    assert "would happen again" in decide(Cause.APPLICATION, 0).reason
