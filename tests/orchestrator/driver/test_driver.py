"""The driver with a scripted backend: what is committed, repeated, blocked and adopted."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.backends.base import Group, Lost
from orchestrator.driver import driver as driver_module
from orchestrator.driver.budget import Budget
from orchestrator.driver.driver import Driver, Policies, Summary, Work
from orchestrator.driver.supervision import LEAST_LIMIT_S
from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import ReadyQueue, State
from orchestrator.scheduling.rank import upward_rank
from orchestrator.session.run import print_summary
from orchestrator.store import Store
from orchestrator.store.events import read_events
from orchestrator.store.leases import HeldLease, Lease, LeaseWatch
from orchestrator.store.record import Record
from orchestrator.terminal.progress import ProgressPanel
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from tickets.files.writing import write_atomically
from workers.attempts.attempt import Attempt, Outcome
from workers.attempts.workspace import artifact
from workers.stages.execution import Execution
from workers.stages.job import read_job
from workers.terminal.console import Console

DONE = Outcome("done", 0.25, {"density": 1.0}, {"device": "cpu (scripted)", "host": "here"})
ERROR = Outcome("failed", 0.1, error_type="ValueError", message="a shape does not fit")
INTERRUPTED = Outcome("interrupted", 0.1)
LOST = Lost("WorkerCrashedError: killed")


class ScriptedBackend:
    """Ends attempts by script: for the end of a stage's name, one outcome per attempt, and then done."""

    def __init__(self, script: dict[str, list[Outcome | Lost]], slots: int = 1) -> None:
        self.devices, self.device_bytes, self.wanted = slots, None, 0
        self.attempts: list[Attempt] = []
        self.groups: list[Group] = []
        self.most_at_once = 0
        self.on_submit: Callable[[Attempt], None] = lambda attempt: None
        self.going: set[str] = set()
        self.ended: list[str] = []
        self._script = {ending: list(outcomes) for ending, outcomes in script.items()}
        self._running: list[Group] = []

    @property
    def submitted(self) -> list[str]:
        return [attempt.job.name for attempt in self.attempts]

    def submit(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            for path in attempt.job.inputs.values():
                assert (Path(attempt.root) / path / "weights.safetensors").exists(), "submitted before its input"
            self.attempts.append(attempt)
            self.on_submit(attempt)
        self.groups.append(tuple(attempts))
        self._running.append(self.groups[-1])
        self.most_at_once = max(self.most_at_once, len(self._running))

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        if not self._running:
            return []
        group = self._running.pop(0)
        for attempt in group:
            folder = Path(attempt.root) / attempt.folder
            (folder / "log.txt").write_text(f"log of {attempt.job.name}\n")
            (folder / "out").mkdir()
            (folder / "out" / "weights.safetensors").write_text(attempt.job.name)
        return [(group, [self._outcome(attempt) for attempt in group])]

    def end(self, attempt: Attempt) -> bool:
        self.ended.append(attempt.job.name)
        return True

    def draining(self) -> Collection[str]:
        return self.going

    def close(self) -> None:
        self._running.clear()

    def _outcome(self, attempt: Attempt) -> Outcome | Lost:
        for ending, outcomes in self._script.items():
            if attempt.job.name.endswith(ending) and outcomes:
                return outcomes.pop(0)
        weights = Path(attempt.root) / attempt.folder / "out" / "weights.safetensors"
        return replace(DONE, files={weights.name: artifact(weights)})


class Sweep:
    """A plan, a store and a queue for one run of the driver."""

    def __init__(self, root: Path, plan: Plan, *, terminal: bool = False) -> None:
        self.plan, self.store = plan, Store(root)
        self.root = root
        rank = upward_rank(plan)
        self.queue = ReadyQueue(plan, rank, [key for key in plan.nodes if self.store.record(key)])
        self.printed = io.StringIO()
        self.console = Console(file=self.printed, width=200, force_terminal=terminal)
        self.panel = ProgressPanel(self.console, plan, self.queue, rank, lambda: 2)
        self.lease = HeldLease(self.store.storage, ["sweep"])
        self.refreshed = 0

    def run(
        self,
        backend: ScriptedBackend,
        report_interval_s: float = 1e9,
        max_concurrent: int | None = None,
        hang_limit_s: float = LEAST_LIMIT_S,
        packing: Packing | None = None,
        expected_s: Callable[[Node], float | None] = lambda node: None,
        budget: Budget | None = None,
    ) -> Summary:
        def refresh() -> None:
            self.refreshed += 1

        execution = Execution("cpu", None, "nowhere")
        policies = Policies(execution, packing or Packing(None), max_concurrent, hang_limit_s, budget)
        work = Work(self.plan, self.queue, expected_s)
        driver = Driver(work, self.store, self.lease, backend, policies, self.panel)
        try:
            return driver.run(refresh, report_interval_s)
        finally:
            self.lease.release()

    def key(self, ending: str) -> str:
        (key,) = (key for key, node in self.plan.nodes.items() if node.name.endswith(ending))
        return key

    def state(self, ending: str) -> State:
        return self.queue.state[self.key(ending)]

    def events(self, kind: str) -> list[str]:
        return [event["name"] for event in read_events(self.store.storage) if event["event"] == kind]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """A sweep of AWS only: two rounds, one seed, probes of the second round."""
    return Sweep(tmp_path / "store", plan_of(recipe(methods=("aws",))))


def test_every_stage_runs_once_and_is_committed(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, waited_for_the_disk = ScriptedBackend({}), Counter[str]()

    def watched(path: Path, content: bytes, *, exclusive: bool = False, durable: bool = True) -> None:
        waited_for_the_disk[path.name] += durable
        write_atomically(path, content, exclusive=exclusive, durable=durable)

    monkeypatch.setattr("workers.storage.folder.write_atomically", watched)
    summary = sweep.run(backend)
    assert summary.exit_code == 0
    assert summary.states == Counter({State.DONE: len(sweep.plan)})
    assert sorted(backend.submitted) == sorted(node.name for node in sweep.plan)
    assert Store(sweep.root).records().keys() == sweep.plan.nodes.keys()
    assert sweep.events("started") == sweep.events("done") == backend.submitted
    # waiting takes longer than all else that the driver does for a stage
    del waited_for_the_disk["lease.json"]
    assert +waited_for_the_disk == Counter({"record.json": len(sweep.plan)})


def test_a_result_that_no_record_may_hold_fails_its_stage_alone(sweep: Sweep) -> None:
    """Such as a plugin's finite number beyond all bounds."""
    strange = Outcome("done", 0.25, {"perplexity": 1e43}, {"device": "cpu (scripted)", "host": "here"})
    summary = sweep.run(ScriptedBackend({"round02/signed/lmc/seed1": [strange]}))
    assert summary.exit_code == 1
    [failure] = summary.failures
    assert failure.name.endswith("round02/signed/lmc/seed1")
    assert failure.message.startswith("no record may hold this results")
    assert summary.states[State.DONE] == len(sweep.plan) - 1


def test_cached_stages_do_not_run_again(sweep: Sweep) -> None:
    sweep.run(ScriptedBackend({}))
    again, backend = Sweep(sweep.root, sweep.plan), ScriptedBackend({})
    summary = again.run(backend)
    assert backend.submitted == []
    assert (summary.exit_code, summary.states) == (0, Counter({State.CACHED: len(sweep.plan)}))


def test_a_record_holds_science_inputs_results_and_provenance(sweep: Sweep) -> None:
    sweep.run(ScriptedBackend({}))
    node = sweep.plan.nodes[sweep.key("round02/signed/lmc/seed1")]
    record = Store(sweep.root).record(node.key)
    assert record is not None
    assert (record.kind, record.name, record.labels, record.attempt) == ("probe", node.name, node.labels, 1)
    assert record.inputs == {"a": sweep.key("round02/signed/seed1"), "b": sweep.key("round02/retrain/seed1")}
    assert record.science["points"] == 11
    assert record.science["setting"]["data"]["fingerprint"] == "fingerprint-1"
    assert (record.results, record.seconds) == (DONE.results, DONE.seconds)
    assert record.provenance["device"] == "cpu (scripted)"
    assert {"git_commit", "git_dirty_blake2b", "packages", "python", "argv", "host"} <= record.provenance.keys()
    assert record.provenance["packages"]["torch"]
    assert record.files.keys() == {"weights.safetensors"}


def test_a_stages_file_is_a_job_that_can_be_run_alone(sweep: Sweep) -> None:
    sweep.run(ScriptedBackend({}))
    for path in sweep.root.glob("stages/*/*/stage.json"):
        job = read_job(path)
        node = sweep.plan.nodes[job.key]
        assert (job.stage, job.name) == (node.stage, node.name)
        assert all((sweep.root / folder).is_dir() for folder in job.inputs.values())


def test_at_most_as_many_groups_are_in_flight_as_the_backend_has_devices(tmp_path: Path) -> None:
    backend = ScriptedBackend({}, slots=3)
    assert Sweep(tmp_path / "store", plan_of(recipe(seeds=2))).run(backend).exit_code == 0
    assert backend.most_at_once == 3


def test_a_failure_blocks_its_descendants_and_the_rest_goes_on(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round02": [ERROR]})
    summary = sweep.run(backend)
    behind = {key for key, node in sweep.plan.nodes.items() if "/round02/" in node.name}
    states = sweep.queue.state
    assert {key for key, state in states.items() if state is State.BLOCKED} == behind
    assert {key for key, state in states.items() if state is State.FAILED} == {sweep.key("round02")}
    assert {key for key, state in states.items() if state is State.DONE} == Store(sweep.root).records().keys()
    assert len(behind) > 3
    assert summary.exit_code == 1
    assert set(sweep.events("blocked")) == {sweep.plan.nodes[key].name for key in behind}


def test_a_repeated_sweep_runs_only_the_failed_and_blocked_stages(sweep: Sweep) -> None:
    first = ScriptedBackend({"round02": [ERROR]})
    sweep.run(first)
    again, second = Sweep(sweep.root, sweep.plan), ScriptedBackend({})
    assert again.run(second).exit_code == 0
    assert sorted([*first.submitted, *second.submitted]) == sorted(
        [*(node.name for node in sweep.plan), "tiny/resnet1d/aws/chain1/round02"]
    )
    assert Store(sweep.root).failures() == []


def test_a_stage_that_raised_is_not_repeated(sweep: Sweep) -> None:
    backend = ScriptedBackend({"dense/seed1": [ERROR]})
    summary = sweep.run(backend)
    assert backend.submitted.count("tiny/resnet1d/dense/seed1") == 1
    (failure,) = summary.failures
    assert (failure.error_type, failure.message, failure.attempt) == ("ValueError", "a shape does not fit", 1)
    assert (sweep.root / failure.log).read_text() == "log of tiny/resnet1d/dense/seed1\n"
    assert failure in Store(sweep.root).failures()


def test_a_stage_whose_worker_was_lost_is_repeated_in_a_new_attempt(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round01": [LOST, LOST, LOST]})
    summary = sweep.run(backend)
    assert summary.exit_code == 0
    assert summary.failures == []
    folders = [attempt.folder for attempt in backend.attempts if attempt.job.name.endswith("round01")]
    assert [Path(folder).name for folder in folders] == ["1", "2", "3", "4"]
    record = Store(sweep.root).record(sweep.key("round01"))
    assert record is not None
    assert record.attempt == 4
    first = json.loads((sweep.root / folders[0] / "failure.json").read_text())
    assert (first["cause"], first["error_type"]) == ("crash", "WorkerLost")


def test_a_stage_whose_worker_is_lost_every_time_fails(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round01": [LOST] * 10})
    summary = sweep.run(backend)
    assert backend.submitted.count("tiny/resnet1d/aws/chain1/round01") == 4
    assert sweep.state("round01") is State.FAILED
    assert sweep.state("round02") is State.BLOCKED
    assert sweep.state("dense/seed1") is State.DONE
    assert summary.exit_code == 1
    assert [failure.message for failure in summary.failures] == [LOST.message]


def test_each_stage_has_its_own_budget(sweep: Sweep) -> None:
    script = {"round00": [LOST] * 3, "round01": [LOST] * 3, "round02": [LOST] * 3}
    assert sweep.run(ScriptedBackend(dict(script))).exit_code == 0


def test_after_a_stop_nothing_new_is_submitted_and_interrupted_stages_are_ready(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round01": [INTERRUPTED]})
    backend.on_submit = lambda attempt: sweep.lease.ask_stop() if attempt.job.name.endswith("round01") else None
    summary = sweep.run(backend)
    assert backend.submitted[-1].endswith("round01")
    assert (summary.exit_code, summary.interrupted, summary.failures) == (130, True, [])
    assert sweep.state("round01") is State.READY
    assert sweep.state("round02") is State.WAITING
    assert sweep.events("interrupted") == ["tiny/resnet1d/aws/chain1/round01"]
    assert Store(sweep.root).failures() == []


def test_nothing_starts_when_the_budget_is_spent(sweep: Sweep) -> None:
    backend = ScriptedBackend({})
    budget = Budget(limit_s=1000)
    backend.on_submit = lambda attempt: setattr(budget, "spent_s", 1000.0)  # it took longer than foreseen
    summary = sweep.run(backend, max_concurrent=1, budget=budget)
    assert len(backend.submitted) == 1
    assert (summary.exit_code, summary.out_of_budget, summary.failures) == (130, True, [])
    assert "The budget is spent" in sweep.printed.getvalue()


def test_a_stop_reaches_the_workers_as_a_file(sweep: Sweep) -> None:
    backend = ScriptedBackend({})
    seen: list[bool] = []

    def submit(attempt: Attempt) -> None:
        seen.append(any((sweep.root / path).exists() for path in attempt.stop_files))
        sweep.lease.ask_stop()
        seen.append(any((sweep.root / path).exists() for path in attempt.stop_files))

    backend.on_submit = submit
    sweep.run(backend)
    assert seen == [False, True]
    assert not any((sweep.root / path).exists() for path in backend.attempts[0].stop_files)


def test_a_stage_that_finishes_while_stopping_is_kept(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "store", plan_of(recipe()))
    backend = ScriptedBackend({}, slots=2)
    backend.on_submit = lambda attempt: sweep.lease.ask_stop() if len(backend.attempts) == 2 else None
    summary = sweep.run(backend)
    assert len(Store(sweep.root).records()) == len(backend.attempts) == 2
    assert summary.exit_code == 130


def test_a_stop_during_the_last_stage_is_no_interruption(sweep: Sweep) -> None:
    backend = ScriptedBackend({})
    backend.on_submit = lambda attempt: sweep.lease.ask_stop() if len(backend.attempts) == len(sweep.plan) else None
    assert sweep.run(backend).exit_code == 0


def test_an_interrupted_sweep_goes_on_with_a_new_attempt(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round01": [INTERRUPTED]})
    backend.on_submit = lambda attempt: sweep.lease.ask_stop() if attempt.job.name.endswith("round01") else None
    sweep.run(backend)
    again, second = Sweep(sweep.root, sweep.plan), ScriptedBackend({})
    assert again.run(second).exit_code == 0
    resumed = [attempt for attempt in second.attempts if attempt.job.name.endswith("round01")]
    assert [Path(attempt.folder).name for attempt in resumed] == ["2"]


def test_the_first_failure_comes_first_with_its_log(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "store", plan_of(recipe(seeds=2)))
    late = Outcome("failed", 0.1, error_type="KeyError", message="'late'")
    summary = sweep.run(ScriptedBackend({"aws/chain1/round01": [ERROR], "dense/seed2": [late]}))
    assert [failure.error_type for failure in summary.failures] == ["ValueError", "KeyError"]
    print_summary(sweep.console, sweep.store, summary)
    text = sweep.printed.getvalue()
    table = text[text.index("First failure first") :]
    assert table.index("a shape does not fit") < table.index("'late'")
    assert "log of tiny/resnet1d/aws/chain1/round01" in table
    assert "log of tiny/resnet1d/dense/seed2" not in table
    assert f"{summary.states[State.BLOCKED]} blocked" in text


def test_every_end_of_an_attempt_is_one_line_with_its_result_or_reason(sweep: Sweep) -> None:
    sweep.run(ScriptedBackend({"dense/seed1": [ERROR], "round02/mask/seed1": [LOST]}))
    lines = sweep.printed.getvalue().splitlines()
    (failed,) = (line for line in lines if "dense/seed1" in line)
    assert "failed" in failed
    assert "ValueError: a shape does not fit" in failed
    lost, done = (line for line in lines if "round02/mask/seed1" in line)
    assert "crash: retry 1 of 3" in lost
    assert "done" in done
    assert lines[-1].startswith(f"[{len(sweep.plan) - 1}/{len(sweep.plan)}")


@pytest.mark.parametrize("terminal", [True, False], ids=["live", "lines"])
def test_control_characters_from_stages_are_escaped_in_the_terminal(tmp_path: Path, terminal: bool) -> None:
    sweep = Sweep(tmp_path / "store", plan_of(recipe(methods=("aws",))), terminal=terminal)
    evil = replace(ERROR, message="evil \x1b]0;title\x07\x1b[2J\x9b31m\x9d0;title\x9c")
    with sweep.panel:
        summary = sweep.run(ScriptedBackend({"": [evil] * 2}))  # the two that need nothing, and so all
        sweep.panel.notice("told \x1b]0;title\x07")
    (sweep.root / summary.failures[0].log).write_text("last line \x1b[2J\n")
    print_summary(sweep.console, sweep.store, summary)
    shown = sweep.printed.getvalue()
    for steers in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\x9c", "\x9d"):
        assert steers not in shown, repr(steers)
    assert shown.count(r"evil \x1b]0;title\x07\x1b[2J\x9b31m\x9d0;title\x9c") >= 2  # as it goes, and in the summary
    assert r"told \x1b]0;title\x07" in shown
    assert r"last line \x1b[2J" in shown


def test_the_report_is_refreshed_while_the_sweep_runs(sweep: Sweep) -> None:
    backend = ScriptedBackend({})
    sweep.run(backend, report_interval_s=0.0)
    assert sweep.refreshed == len(backend.groups) > 5


def test_probes_that_read_the_same_data_run_together(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, plan_of(recipe(seeds=3, transfers=("signed", "mask"))))
    backend = ScriptedBackend({})
    assert sweep.run(backend).exit_code == 0
    kinds = [{attempt.job.stage.kind for attempt in group} for group in backend.groups]
    assert all(len(kind) == 1 for kind in kinds)
    sizes = [len(group) for group, kind in zip(backend.groups, kinds, strict=True) if kind == {"probe"}]
    assert max(sizes) > 1
    assert max(sizes) <= 8
    assert all(len(group) == 1 for group, kind in zip(backend.groups, kinds, strict=True) if kind != {"probe"})
    assert sorted(backend.submitted) == sorted(node.name for node in sweep.plan)


def test_probes_are_spread_over_all_devices(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, plan_of(recipe(seeds=3, transfers=("signed", "mask"), transfer_rounds=(2,))))
    backend = ScriptedBackend({}, slots=50)
    sweep.run(backend)
    assert max(len(group) for group in backend.groups) == 1  # there was room for each


def test_max_concurrent_holds_on_any_number_of_devices(tmp_path: Path) -> None:
    backend = ScriptedBackend({}, slots=8)
    Sweep(tmp_path, plan_of(recipe(seeds=3))).run(backend, max_concurrent=2)
    assert backend.most_at_once == 2


def test_a_stage_that_ran_out_of_gpu_memory_is_repeated(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, plan_of(recipe()))
    full = Outcome("failed", 0.1, error_type="OutOfMemoryError", message="CUDA out of memory")
    assert sweep.run(ScriptedBackend({"round01": [full, full]})).exit_code == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver surveys at every turn."""
    monkeypatch.setattr(driver_module, "SURVEY_EVERY_S", 0.0)
    monkeypatch.setattr(driver_module, "NOTICES_EVERY_S", 0.0)
    monkeypatch.setattr(driver_module, "POLL_S", 0.01)


def test_a_transient_failure_is_repeated_after_a_pause(
    sweep: Sweep, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.driver.failures.PAUSE_S", {"transient": (0.2, 0.4)})
    full = Outcome("failed", 0.1, error_type="OSError", message="[Errno 28] No space left on device")
    backend, began = ScriptedBackend({"dense/seed1": [full, full]}), time.monotonic()
    assert sweep.run(backend).exit_code == 0
    assert backend.submitted.count("tiny/resnet1d/dense/seed1") == 3
    assert time.monotonic() - began > 0.6


def test_a_damaged_input_is_computed_again_before_its_reader(sweep: Sweep) -> None:
    damaged = Outcome(
        "failed", 0.1, error_type="DamagedInputError", message="not what it was", damaged_input="previous"
    )
    backend = ScriptedBackend({"round02": [damaged]})
    assert sweep.run(backend).exit_code == 0
    assert [name.rpartition("/")[2] for name in backend.submitted if name[-7:-2] == "round"] == [
        "round00", "round01", "round02", "round01", "round02",
    ]  # fmt: skip
    assert sweep.events("damaged") == ["tiny/resnet1d/aws/chain1/round01"]
    record = Store(sweep.root).record(sweep.key("round01"))
    assert record is not None
    assert record.attempt == 2
    assert Store(sweep.root).records().keys() == sweep.plan.nodes.keys()


def test_an_input_that_several_stages_report_damaged_is_computed_again_once(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, plan_of(recipe(methods=("aws",), seeds=3)))
    damaged = Outcome("failed", 0.1, error_type="DamagedInputError", message="not what it was", damaged_input="ticket")
    readers = [node.name for node in sweep.plan if "round02/" in node.name and "ticket" in node.inputs]
    assert len(readers) > 3
    backend = ScriptedBackend({name: [damaged] for name in readers}, slots=len(sweep.plan))
    assert sweep.run(backend).exit_code == 0
    assert backend.submitted.count("tiny/resnet1d/aws/chain1/round02") == 2
    assert sweep.events("damaged") == ["tiny/resnet1d/aws/chain1/round02"]
    assert Counter(backend.submitted)[readers[0]] == 2


def test_a_stage_whose_damaged_input_fails_is_blocked(tmp_path: Path) -> None:
    class RemadeFirst(ScriptedBackend):
        """The second attempt at the damaged stage raises, before other stages tell that they found it damaged."""

        def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
            self._running.sort(key=lambda group: not group[0].job.name.endswith(damaged))
            if self.submitted.count(f"tiny/resnet1d/{damaged}") == 2:
                self._script[damaged] = [ERROR]
            return super().wait(timeout_s)

    damaged = "aws/chain1/round02"
    sweep = Sweep(tmp_path, plan_of(recipe(methods=("aws",), seeds=3)))
    ending = Outcome("failed", 0.1, error_type="DamagedInputError", message="not what it was", damaged_input="ticket")
    readers = [node.name for node in sweep.plan if "round02/" in node.name and "ticket" in node.inputs]
    backend = RemadeFirst({name: [ending] for name in readers}, slots=len(sweep.plan))
    assert sweep.run(backend).exit_code == 1
    assert sweep.state(damaged) is State.FAILED
    assert set(sweep.queue.state.values()) == {State.DONE, State.FAILED, State.BLOCKED}
    assert set(readers) <= set(sweep.events("blocked"))


def test_a_stage_whose_input_is_damaged_every_time_fails(sweep: Sweep) -> None:
    damaged = Outcome(
        "failed", 0.1, error_type="DamagedInputError", message="not what it was", damaged_input="previous"
    )
    summary = sweep.run(ScriptedBackend({"round02": [damaged] * 10}))
    assert sweep.state("round02") is State.FAILED
    assert [failure.error_type for failure in summary.failures] == ["DamagedInputError"]


def test_a_stage_on_a_draining_machine_checkpoints_and_is_repeated(sweep: Sweep, impatient: None) -> None:
    class Spot(ScriptedBackend):
        """The second round's machine gets its notice; the stage stops when its file is there."""

        def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
            (attempt,) = self._running[0][:1] if self._running else (None,)
            if attempt is None or not attempt.folder.endswith("attempts/1") or not attempt.job.name.endswith("round02"):
                return super().wait(timeout_s)
            folder = Path(attempt.root) / attempt.folder
            (folder / "progress.json").write_text(json.dumps({"node": "spot-1", "beats": 1}))
            self.going = {"spot-1"}
            if not any((Path(attempt.root) / path).exists() for path in attempt.stop_files):
                return []
            (folder / "checkpoint").mkdir()
            (folder / "checkpoint" / "00001-0000002.safetensors").touch()
            return [(self._running.pop(0), [INTERRUPTED])]

    backend = Spot({})
    assert sweep.run(backend).exit_code == 0
    assert backend.submitted.count("tiny/resnet1d/aws/chain1/round02") == 2
    (first,) = sweep.root.glob("stages/round/*round02*/attempts/1/failure.json")
    assert json.loads(first.read_text())["cause"] == "preemption"


def test_a_drain_notice_is_written_again_after_a_storage_failure(
    sweep: Sweep, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spot(ScriptedBackend):
        def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
            attempt = self._running[0][0] if self._running else None
            if attempt is None or not attempt.job.name.endswith("round02") or not attempt.folder.endswith("/1"):
                return super().wait(timeout_s)
            folder = Path(attempt.root) / attempt.folder
            (folder / "progress.json").write_text(json.dumps({"node": "spot-1", "beats": 1}))
            self.going = {"spot-1"}
            return [(self._running.pop(0), [INTERRUPTED])] if (folder / "stop").exists() else []

    monkeypatch.setattr(
        "orchestrator.store.retrying.time.sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.01))
    )
    storage = type(sweep.store.storage)
    write, failed = storage.write, list[str]()

    def failing(self: object, path: str, content: bytes, **options: bool) -> None:
        if content == b"drained" and not failed:
            failed.append(path)
            raise OSError(5, "Input/output error")
        write(self, path, content, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "write", failing)
    assert sweep.run(Spot({})).exit_code == 0
    assert failed
    assert sweep.events("draining") == ["tiny/resnet1d/aws/chain1/round02"]


def test_a_cancelled_stage_blocks_its_descendants_until_the_next_sweep(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round02": [INTERRUPTED]})

    def cancel(attempt: Attempt) -> None:
        if attempt.job.name.endswith("round02"):
            (sweep.root / attempt.folder / "stop").touch()

    backend.on_submit = cancel
    summary = sweep.run(backend)
    assert [failure.cause for failure in summary.failures] == ["cancelled"]
    assert sweep.state("round02") is State.FAILED
    again = Sweep(sweep.root, sweep.plan)
    assert again.run(ScriptedBackend({})).exit_code == 0


def test_a_stage_that_hangs_is_ended(sweep: Sweep, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(ScriptedBackend):
        def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
            (attempt,) = self._running[0][:1] if self._running else (None,)
            if attempt is None or not attempt.folder.endswith("attempts/1") or not attempt.job.name.endswith("round02"):
                return super().wait(timeout_s)
            progress = Path(attempt.root) / attempt.folder / "progress.json"
            progress.write_text(json.dumps({"beats": 5, "longest_step_s": 0.001}))
            return [(self._running.pop(0), [Lost("ended", "hung")])] if self.ended else []

    backend = Hanging({})
    summary = sweep.run(backend, hang_limit_s=0.3)
    assert summary.exit_code == 0
    assert backend.ended == ["tiny/resnet1d/aws/chain1/round02"]
    (first,) = sweep.root.glob("stages/round/*round02*/attempts/1/failure.json")
    assert json.loads(first.read_text())["cause"] == "crash"


def test_an_attempt_that_waits_for_a_device_is_reported_and_not_ended(sweep: Sweep, impatient: None) -> None:
    class Busy(ScriptedBackend):
        """Its machines are somebody else's until this sweep has said that it waits."""

        def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
            return super().wait(timeout_s) if "still waits for a device" in sweep.printed.getvalue() else []

    backend = Busy({})
    assert sweep.run(backend, hang_limit_s=0.05).exit_code == 0
    assert backend.ended == []


def claimed_by(sweep: Sweep, driver: str, ending: str) -> str:
    """Claim another driver's attempt at a stage; return its folder."""
    node = sweep.plan.nodes[sweep.key(ending)]
    sweep.store.locate(node.stage.kind, node.name, node.key)
    folder = sweep.store.claim(node.key, driver)
    assert folder is not None
    return folder


def test_a_stage_that_another_living_driver_runs_is_left_to_it(sweep: Sweep, impatient: None) -> None:
    other = HeldLease(sweep.store.storage, ["other"])
    theirs = claimed_by(sweep, other.driver, "round00")
    backend = ScriptedBackend({})

    def commit_theirs(attempt: Attempt) -> None:
        """Once the first of the rest is submitted, the other driver is done with its stage."""
        if (sweep.root / theirs / "out").exists():
            return
        (sweep.root / theirs / "out").mkdir()
        (sweep.root / theirs / "out" / "weights.safetensors").touch()
        donor = Sweep(sweep.root.with_name("donor"), sweep.plan)
        donor.run(ScriptedBackend({}))
        record = donor.store.record(sweep.key("round00"))
        assert record is not None
        Store(sweep.root).storage.create(
            f"{theirs.rpartition('/attempts')[0]}/record.json",
            record.model_copy(update={"files": {}}).sealed().model_dump_json().encode(),
        )

    backend.on_submit = commit_theirs
    summary = sweep.run(backend)
    other.release()
    assert summary.exit_code == 0
    assert "tiny/resnet1d/aws/chain1/round00" not in backend.submitted
    assert len(backend.submitted) == len(sweep.plan) - 1
    assert "(by another sweep)" in sweep.printed.getvalue()


def test_a_driver_that_started_since_the_last_refresh_is_not_taken_for_dead(sweep: Sweep) -> None:
    came: list[HeldLease] = []

    def come(attempt: Attempt) -> None:
        """Another sweep starts, and takes the next stage; it ends when this one has come to it."""
        if not came:
            came.append(HeldLease(sweep.store.storage, ["another"]))
            claimed_by(sweep, came[0].driver, "round01")

    backend = ScriptedBackend({})
    backend.on_submit = come
    lost: list[bool] = []
    living = LeaseWatch.living

    def look(watch: LeaseWatch) -> dict[str, Lease]:
        leases = living(watch)
        if came and not lost and sweep.state("round01") is State.HELD:
            came[0].check()
            lost.append(came[0].lost)
            came[0].release()
        return leases

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LeaseWatch, "living", look)
        assert sweep.run(backend).exit_code == 0
    assert lost == [False]


def test_a_claim_whose_answer_was_lost_does_not_block_the_stage(sweep: Sweep, impatient: None) -> None:
    claim, lost = Store.claim, list[str]()

    def lose_the_answer(store: Store, key: str, driver: str) -> str | None:
        folder = claim(store, key, driver)
        if key == sweep.key("round01") and not lost:
            lost.append(key)
            return None
        return folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "claim", lose_the_answer)
        assert sweep.run(ScriptedBackend({})).exit_code == 0
    assert lost


def test_a_record_that_another_driver_committed_first_is_adopted(sweep: Sweep) -> None:
    backend = ScriptedBackend({})
    commit = Store.commit

    def late(store: Store, record: Record) -> Record:
        if record.key == sweep.key("round01"):
            other = Store(sweep.root)
            other.locate(record.kind, record.name, record.key)
            folder = other.claim(record.key, "faster")
            assert folder is not None
            (sweep.root / folder / "out").mkdir()
            (sweep.root / folder / "out" / "weights.safetensors").write_text(record.name)
            commit(other, record.model_copy(update={"attempt": 2, "out": "attempts/2/out"}))
        return commit(store, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", late)
        assert sweep.run(backend).exit_code == 0
    assert sweep.events("done") == [name for name in backend.submitted if not name.endswith("round01")]
    assert "(by another sweep)" in sweep.printed.getvalue()


def test_a_record_that_another_driver_committed_is_adopted_after_a_failure_here(sweep: Sweep) -> None:
    donor = Sweep(sweep.root.with_name("donor"), sweep.plan)
    donor.run(ScriptedBackend({}))

    def commit_it(attempt: Attempt) -> None:
        record = donor.store.record(attempt.job.key)
        if attempt.job.name.endswith("round01") and record is not None:
            folder = Store(sweep.root).folder(record.key)
            shutil.copytree(donor.root / donor.store.out(record.key), sweep.root / folder / "attempts" / "2" / "out")
            theirs = record.model_copy(update={"attempt": 2, "out": "attempts/2/out"}).sealed()
            sweep.store.storage.create(f"{folder}/record.json", theirs.model_dump_json().encode())

    backend = ScriptedBackend({"round01": [ERROR]})
    backend.on_submit = commit_it
    assert sweep.run(backend).exit_code == 0
    assert sweep.state("round01") is State.DONE
    assert "(by another sweep)" in sweep.printed.getvalue()


def test_a_stages_file_names_the_new_folder_of_an_input_computed_again(sweep: Sweep) -> None:
    damaged = Outcome("failed", 0.1, error_type="DamagedInputError", message="no", damaged_input="previous")
    assert sweep.run(ScriptedBackend({"round02": [damaged]})).exit_code == 0
    (path,) = sweep.root.glob("stages/round/*round02*/stage.json")
    assert read_job(path).inputs["previous"].endswith("/attempts/2/out")


def test_a_wait_for_devices_is_reported(tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(ScriptedBackend):
        """Its devices come after a while."""

        def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
            self.devices = 2 if "waiting" in sweep.printed.getvalue() else 1
            return super().wait(timeout_s)

    monkeypatch.setattr(driver_module, "IDLE_NOTICE_S", 0.2)
    sweep = Sweep(tmp_path, plan_of(recipe(gpus_per_stage=2)))
    assert sweep.run(Late({})).exit_code == 0
    assert "The next stages need 2 free devices at once, and there are 1: waiting." in sweep.printed.getvalue()


def test_a_dead_drivers_stage_is_taken_over_and_its_lease_revoked(sweep: Sweep) -> None:
    other = HeldLease(sweep.store.storage, ["other"])
    claimed_by(sweep, other.driver, "round00")
    path = f"drivers/{other.driver}/lease.json"
    lease = Lease.model_validate_json(sweep.store.storage.read(path))
    sweep.store.storage.write(path, lease.model_copy(update={"process_start": "0"}).model_dump_json().encode())
    backend = ScriptedBackend({})
    assert sweep.run(backend).exit_code == 0
    (first,) = (attempt for attempt in backend.attempts if attempt.job.name.endswith("round00"))
    assert first.folder.endswith("attempts/2")
    other.check()
    assert other.lost
    other.release()


def test_a_driver_whose_lease_was_revoked_stops(sweep: Sweep) -> None:
    backend = ScriptedBackend({"round01": [INTERRUPTED]})

    def revoke(attempt: Attempt) -> None:
        if attempt.job.name.endswith("round01"):
            sweep.lease.lost = True

    backend.on_submit = revoke
    summary = sweep.run(backend)
    assert summary.interrupted
    assert sweep.state("round02") is not State.DONE


def test_a_sweep_waits_for_a_store_that_fails_for_a_while(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = type(sweep.store.storage)
    create, failed = storage.create, list[str]()

    def failing(self: object, path: str, content: bytes, **options: bool) -> None:
        if path.endswith("record.json") and len(failed) < 2:
            failed.append(path)
            raise OSError(28, "No space left on device")
        create(self, path, content, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "create", failing)
    assert sweep.run(ScriptedBackend({})).exit_code == 0
    assert "No space left on device" in sweep.printed.getvalue()
    assert Store(sweep.root).records().keys() == sweep.plan.nodes.keys()
