"""Surveys a store's stages, drivers and files, by one listing and by reading unfinished stages only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.store import Store
from orchestrator.store.layout import KEY_DIGITS, StageFiles
from orchestrator.store.leases import Lease, process_gone, read_leases
from orchestrator.store.plans import PlannedStage, StoredPlan, blocked, wanted
from orchestrator.store.record import Cause, Claim, Failure, read_valid
from orchestrator.store.values import Progress
from workers.storage import Entry


class StageStatus(StrEnum):
    """Where a stage stands, as far as the store tells."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    BLOCKED = "blocked"


GIVEN_UP = (StageStatus.FAILED, StageStatus.CANCELLED)
STATUS_AFTER: dict[str, StageStatus] = {
    Cause.DAMAGED_INPUT: StageStatus.WAITING,
    Cause.CANCELLED: StageStatus.CANCELLED,
}
"""Status after a bad end of the last attempt, by its cause; after any other cause the stage has failed."""


@dataclass(frozen=True)
class LastAttempt:
    """The newest attempt at a stage.

    Attributes:
        driver: empty if the claim cannot be read.
        beat_unix_s: when ``progress.json`` was last written.
        interrupted: it checkpointed and stopped when asked to.
    """

    number: int
    folder: str
    driver: str = ""
    started_unix_s: float | None = None
    progress: Progress = field(default_factory=Progress)
    beat_unix_s: float | None = None
    failure: Failure | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class Survey:
    """A store at one moment, ``seen_unix_s``.

    Attributes:
        plans: oldest first.
        damaged_plans: a sentence for each damaged plan, by its path.
        left_out: a sentence for each other file that cannot be used, as far as files were read, by its path or key.
        stages: every stage that a plan or a record names, by key.
        wanted: keys of the stages in the last plans.
        files: the stages' files, by the first digits of their keys.
        other_files: files outside of ``stages/``, by path.
        leases: by driver, living or dead.
        gone: whether each driver's process has ended; None for a process of another machine.
        attempts: the newest attempt of each unfinished stage, by key.
        state: where each stage stands, by key.
    """

    root: str
    seen_unix_s: float
    plans: list[StoredPlan]
    damaged_plans: dict[str, str]
    left_out: dict[str, str]
    stages: dict[str, PlannedStage]
    wanted: set[str]
    files: dict[str, StageFiles]
    other_files: dict[str, Entry]
    leases: dict[str, Lease]
    gone: dict[str, bool | None]
    attempts: dict[str, LastAttempt]
    state: dict[str, StageStatus]

    def of(self, key: str) -> StageFiles | None:
        """A stage's files; None if it has none."""
        return self.files.get(key[:KEY_DIGITS])

    @property
    def living(self) -> set[str]:
        """Drivers that hold a lease and whose process has not ended, as far as this machine can tell."""
        return {driver for driver in self.leases if self.gone[driver] is not True}

    def progress(self, key: str) -> dict[str, Any]:
        """How far a running stage is, for people and as JSON."""
        attempt = self.attempts[key]
        silence_s = None if attempt.beat_unix_s is None else max(0.0, self.seen_unix_s - attempt.beat_unix_s)
        return {
            "attempt": attempt.number,
            "driver": attempt.driver,
            "seconds_since_last_beat": silence_s,
            **attempt.progress.model_dump(include={"host", "pid", "epoch", "epochs", "accuracy_percent"}),
        }

    def failures(self, state: StageStatus = StageStatus.FAILED) -> list[Failure]:
        """Why wanted stages failed, or were cancelled; the first failure first."""
        failures = (self.attempts[key].failure for key in self.wanted if self.state[key] is state)
        return sorted((failure for failure in failures if failure), key=lambda failure: failure.finished_unix_s)


def survey(store: Store, *, records: bool = False) -> Survey:
    """Survey a store.

    Args:
        records: read all records, which the caller needs; else as few as possible.
    """
    listing = store.listing()
    files = store.stages(relist=False)
    damaged_plans: dict[str, str] = {}
    left_out: dict[str, str] = {}
    plans = store.plans(damaged_plans, listing)
    stages = {stage.key: stage for plan in plans for stage in plan.stages}
    unplanned = files.keys() - {key[:KEY_DIGITS] for key in stages}
    if records or any(files[short].done for short in unplanned):
        for key, record in store.records(left_out, relist=False).items():
            if key not in stages:
                identity = record.model_dump(include={"key", "kind", "name", "labels", "inputs"})
                stages[key] = PlannedStage.model_validate(identity)
    elif store.storage.folder is not None:  # in a bucket, each record would take a request
        store.check_records(left_out)
    leases = read_leases(store.storage, listing, left_out)
    gone = {driver: process_gone(lease) for driver, lease in leases.items()}
    surveyed = Survey(
        root=store.root,
        seen_unix_s=time.time(),
        plans=plans,
        damaged_plans=damaged_plans,
        left_out=left_out,
        stages=stages,
        wanted=set(wanted(plans)),
        files=files,
        other_files={path: entry for path, entry in listing.items() if not path.startswith("stages/")},
        leases=leases,
        gone=gone,
        attempts=_attempts(store, stages, files, left_out),
        state={},
    )
    surveyed.state.update(_states(surveyed))
    return surveyed


def _attempts(
    store: Store, stages: Mapping[str, PlannedStage], files: Mapping[str, StageFiles], left_out: dict[str, str]
) -> dict[str, LastAttempt]:
    """Read the newest attempt of every unfinished stage, by one batch of reads per kind of file."""
    newest: dict[str, tuple[int, str, StageFiles]] = {}
    for key in stages:
        stage = files.get(key[:KEY_DIGITS])
        if stage is not None and not stage.done and stage.attempts:
            newest[key] = stage.attempts[-1], f"{stage.folder}/attempts/{stage.attempts[-1]}", stage

    def present(name: str) -> list[str]:
        return [f"{folder}/{name}" for n, folder, stage in newest.values() if f"attempts/{n}/{name}" in stage.files]

    claims = read_valid(Claim, store.storage, present("claim.json"), left_out)
    failures = read_valid(Failure, store.storage, present("failure.json"), left_out)
    beats = read_valid(Progress, store.storage, present("progress.json"), left_out)
    attempts = {}
    for key, (number, folder, stage) in newest.items():
        claim = claims.get(f"{folder}/claim.json")
        beat = stage.files.get(f"attempts/{number}/progress.json")
        attempts[key] = LastAttempt(
            number=number,
            folder=folder,
            driver=claim.driver if claim else "",
            started_unix_s=claim.started_unix_s if claim else None,
            progress=beats.get(f"{folder}/progress.json", Progress()),
            beat_unix_s=beat.modified_unix_s if beat else None,
            failure=failures.get(f"{folder}/failure.json"),
            interrupted=f"attempts/{number}/interrupted.json" in stage.files,
        )
    return attempts


def _states(surveyed: Survey) -> dict[str, StageStatus]:
    state: dict[str, StageStatus] = {}
    living = surveyed.living
    for key in surveyed.stages:
        stage, last = surveyed.of(key), surveyed.attempts.get(key)
        state[key] = StageStatus.WAITING
        if stage is not None and stage.done:
            state[key] = StageStatus.DONE
        elif last is not None and last.failure is not None:
            state[key] = STATUS_AFTER.get(last.failure.cause, StageStatus.FAILED)
        elif last is not None and not last.interrupted and last.driver in living:
            state[key] = StageStatus.RUNNING
    waiting = {key: surveyed.stages[key].inputs.values() for key in state if state[key] is StageStatus.WAITING}
    given_up = (key for key, status in state.items() if status in GIVEN_UP)
    return state | dict.fromkeys(blocked(given_up, waiting), StageStatus.BLOCKED)
