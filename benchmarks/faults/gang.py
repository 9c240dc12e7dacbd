"""Faults of a gang: a rank is killed, raises alone, or loses its machine."""

from __future__ import annotations

from benchmarks.faults.processes import TrialError
from benchmarks.faults.trial import Trial
from orchestrator.store import Store

RANKS = 2
SHARES = {"kill": 0.7, "node": 0.2, "raise": 0.1}  # the last one waits for the other rank's grace period of 30 s


def gang(trial: Trial) -> None:
    """Inject one of the three faults into a random rank at a random moment."""
    trial.bench.cluster.have_node()
    (how,) = trial.draw.choices([*SHARES], [*SHARES.values()])
    rank, moment = trial.draw.randrange(RANKS), trial.moment()
    if how == "node":
        _lose_node(trial, moment)
        return
    trial.place.inject(how, [moment], rank=rank)
    sweep = trial.start_on_ray()
    if how == "raise":
        _raised(trial, trial.finish(sweep, code=1))
        sweep = trial.start_on_ray()
    trial.finish(sweep)
    trial.fired()


def _lose_node(trial: Trial, moment: int) -> None:
    """Kill the second node, which runs one of the ranks, then add it again: a gang needs both nodes."""
    sweep = trial.start_on_ray()
    if sweep.reaches(moment, trial.place):
        trial.bench.cluster.kill_node()
        trial.bench.cluster.have_node()
        trial.injected += 1
    trial.finish(sweep)


def _raised(trial: Trial, output: str) -> None:
    """Check that an error of one rank counts as the stage's failure, not as a lost rank."""
    failures = Store(trial.place.store).failures()
    if [(failure.error_type, failure.cause) for failure in failures] != [("ValueError", "application")]:
        raise TrialError(f"{failures} is not one ValueError:\n{output[-3000:]}")
