"""How an attempt of several ranks ended, from what each rank reported. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.backends.base import Lost
from workers.attempts.attempt import Outcome
from workers.training.gang.member import RankLostError


def gang_outcome(outcomes: Mapping[int, Outcome], ranks: int) -> Outcome | Lost:
    """Merge the ranks' outcomes into the attempt's.

    Args:
        outcomes: by rank, in the order of the reports. The first failure is the cause: later ones are of ranks that
            the failed rank left alone. Ranks may be missing.
    """
    for outcome in outcomes.values():
        if outcome.error_type == "AcceleratorError":  # a process whose GPU failed once can never use it again
            return Lost(f"AcceleratorError: {outcome.message}")
        if outcome.status == "failed" and outcome.error_type != RankLostError.__name__:
            return outcome
    failed = [rank for rank, outcome in outcomes.items() if outcome.status == "failed"]
    if failed or len(outcomes) < ranks:
        silent = ", ".join(str(rank) for rank in range(ranks) if rank not in outcomes)
        return Lost(f"of a gang of {ranks}, {f'rank {silent}' if silent else 'the connection'} was lost")
    return outcomes[0]
