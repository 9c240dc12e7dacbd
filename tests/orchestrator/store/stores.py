"""Builds small stores by hand, and invokes commands on them in this process."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from orchestrator.planning.plan import Plan
from orchestrator.store import Store
from orchestrator.store.events import EventLog
from orchestrator.store.plans import PlannedStage, StoredPlan
from orchestrator.store.record import Failure, Labels, Record
from workers.attempts.workspace import Artifact, artifact


def invoke(app: typer.Typer, *arguments: object, read: bool = False) -> Any:
    """Run a command; return its exit code and output, or with ``read`` its parsed JSON."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if read:
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
    return result.exit_code, result.output


def planned_stage(
    name: str, kind: str = "train", lr: float = 0.1, inputs: dict[str, str] | None = None
) -> PlannedStage:
    """A stage of a stored plan; its key depends on all arguments."""
    text = json.dumps([name, kind, lr, inputs], sort_keys=True)
    return PlannedStage(
        key=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        kind=kind,
        name=name,
        labels=Labels(dataset=name, architecture="net", preset="sound"),
        inputs=inputs or {},
        science={"training": {"epochs": 2, "optimizer": {"learning_rate": lr}}},
    )


class SmallStore:
    """A store without any sweep."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        root.mkdir(exist_ok=True)

    def plan(self, *stages: PlannedStage, started: float = 1.0) -> None:
        """Write a plan of these stages."""
        self.store.write_plan(StoredPlan(argv=["sweep"], started_unix_s=started, stages=list(stages)))

    def commit(self, stage: PlannedStage, attempt: int | None = None, seconds: float = 1.0) -> Record:
        """Commit a stage with one artifact."""
        self.store.locate(stage.kind, stage.name, stage.key)
        if attempt is None:
            folder = self.store.claim(stage.key, "a-driver")
            assert folder is not None
            attempt = int(folder.rpartition("/")[2])
        out = Path(self.store.root) / self.store.folder(stage.key) / f"attempts/{attempt}/out"
        out.mkdir(parents=True)
        (out / "weights.safetensors").write_bytes(stage.name.encode())
        weights = artifact(out / "weights.safetensors")
        return self.store.commit(
            Record(
                **stage.model_dump(include={"key", "kind", "name", "labels", "science", "inputs"}),
                attempt=attempt,
                out=f"attempts/{attempt}/out",
                files={"weights.safetensors": Artifact(size_bytes=weights.size_bytes, blake2b=weights.blake2b)},
                results={},
                seconds=seconds,
                finished_unix_s=time.time(),
                provenance={},
            )
        )


def start_attempt(store: Store, stage: PlannedStage, driver: str, **progress: Any) -> Path:
    """Start a new attempt of a driver; return its folder."""
    store.locate(stage.kind, stage.name, stage.key)
    claimed = store.claim(stage.key, driver)
    assert claimed is not None
    folder = Path(store.root) / claimed
    (folder / "progress.json").write_text(json.dumps({"beats": 1, **progress}))
    return folder


def fail_attempt(
    store: Store,
    stage: PlannedStage,
    message: str,
    *,
    log: str = "",
    attempt: int | None = None,
    retry: bool = False,
    driver: str = "a-driver",
    cause: str = "application",
) -> None:
    """Write the failure of a given attempt, or of a new one."""
    if attempt is None:
        folder = start_attempt(store, stage, driver)
        attempt = int(folder.name)
        (folder / "log.txt").write_text(log)
    place = f"{store.folder(stage.key)}/attempts/{attempt}"
    failure = Failure(
        key=stage.key,
        name=stage.name,
        attempt=attempt,
        error_type="ValueError",
        message=message,
        log=f"{place}/log.txt",
        finished_unix_s=time.time(),
        cause=cause,
    )
    store.write_failure(place, failure)
    event = {"time_unix_s": time.time(), "event": "failed", "key": stage.key, "attempt": attempt, "retry": retry}
    log = EventLog(store.storage, driver)
    log.add(event)
    log.write()


def assert_same_bits(one: Path, two: Path) -> None:
    """Check that two stores have the same stages, results and files; timings always differ."""
    first, second = Store(one).records(), Store(two).records()
    assert first.keys() == second.keys()
    for key, record in first.items():
        assert record.results == second[key].results, record.name
        for name, file in record.files.items():
            assert name == "timing.parquet" or file == second[key].files[name], f"{record.name}: {name}"


def append_to(path: Path, text: str) -> None:
    """Append to a log."""
    with path.open("a") as file:
        file.write(text)


def plan_and_stored() -> tuple[Plan, StoredPlan]:
    """A plan of many stages, and its stored form."""
    from tests.orchestrator.recipes.small_recipes import plan_of as expanded
    from tests.orchestrator.recipes.small_recipes import recipe

    plan = expanded(recipe(rounds=20, transfer_rounds=tuple(range(21)), probe_rounds=tuple(range(21)), seeds=5))
    return plan, plan.stored(["sweep"], 1.0)
