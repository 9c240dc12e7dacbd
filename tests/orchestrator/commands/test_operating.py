"""Commands that watch and repair a store, tested on a real sweep's store and on small synthetic ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.frames.load import load
from orchestrator import cancel, gc, logs, status, unlock, verify, why
from orchestrator.operating.garbage import to_recompute
from orchestrator.operating.verification import check, quarantine
from orchestrator.store import Store, leases
from orchestrator.store.leases import HeldLease
from tests.orchestrator.store.stores import (
    SmallStore,
    append_to,
    assert_same_bits,
    fail_attempt,
    invoke,
    plan_and_stored,
    planned_stage,
    start_attempt,
)
from tests.support import small_sweeps
from tests.support.sweep_processes import Hold, by_name, finish, in_process, kill_all, start, wait_for
from workers.terminal.numbers import duration

pytestmark = pytest.mark.slow(seconds=40)

COMMANDS = {"status": status, "why": why, "logs": logs, "cancel": cancel, "verify": verify, "gc": gc, "unlock": unlock}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_sweeps.prepare(tmp_path_factory.mktemp("operating"), methods=["lrr"], **small_sweeps.TWO_ROUNDS)


def options(folder: Path, store: Path, *more: object) -> list[object]:
    """A sweep of eleven stages."""
    return small_sweeps.options(folder, store, "--backend", "inline", "--device", "cpu", *more)


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    """The store of a finished sweep; tests must not change it."""
    code, output = in_process(*options(folder, folder / "first"))
    assert code == 0, output
    return folder / "first"


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "store"))


def one(store: Path, part: str) -> Any:
    """Return the record whose name ends with ``part``."""
    return next(record for name, record in by_name(store).items() if name.endswith(part))


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    code, output = invoke(COMMANDS[name].app, "-h")
    assert code == 0
    assert f"winning-sign {name} " in output


def test_operating_commands_import_neither_ray_nor_torch_nor_pandas() -> None:
    modules = ", ".join(f"orchestrator.{name}" for name in COMMANDS)
    program = f"import sys, {modules}; print([m for m in ('ray', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_texts_of_a_store_are_never_printed_as_markup(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    stage = planned_stage("[bold]evil[/bold][/x]")
    small.plan(stage)
    fail_attempt(small.store, stage, "[red]bad[/red] [/oops]", log="[blink]line[/blink][/]\n")
    for app, more in ((status.app, []), (why.app, ["evil"]), (logs.app, ["evil"]), (cancel.app, ["evil"])):
        code, output = invoke(app, tmp_path, *more)
        assert code == 0, output
        assert "[bold]evil[/bold][/x]" in output or "[blink]line[/blink][/]" in output
    assert "[red]bad[/red] [/oops]" in invoke(status.app, tmp_path)[1]


def test_texts_of_a_store_cannot_control_the_terminal(tmp_path: Path) -> None:
    title, clear, others = "\x1b]0;title\x07", "\x1b[2J", "\x9b31m\x7f\r\x08"
    small = SmallStore(tmp_path)
    stage, ready = planned_stage(f"evil{title}"), planned_stage(f"ready{title}")
    small.plan(stage, ready)
    fail_attempt(small.store, stage, f"bad{clear}\n{others}", log=f"line{clear}{others}\n")
    small.commit(ready)
    weights = next(tmp_path.glob("stages/*/*/attempts/*/out/weights.safetensors"))
    weights.write_bytes(b"torn")
    lease = HeldLease(small.store.storage, ["sweep", clear])
    try:
        shown = {"logs": invoke(logs.app, tmp_path, "evil"), "status": invoke(status.app, tmp_path)}
        shown |= {"why": invoke(why.app, tmp_path, "evil"), "cancel": invoke(cancel.app, tmp_path, "evil")}
    finally:
        lease.release()
    shown |= {"verify": invoke(verify.app, tmp_path), "gc": invoke(gc.app, tmp_path)}
    shown |= {"one sentence": invoke(why.app, tmp_path, "eval")}
    for name, (_, output) in shown.items():
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", output), f"{name}: {output!r}"
        if name != "gc":
            assert r"\x1b" in output, name
    assert r"line\x1b[2J\x9b31m\x7f" in shown["logs"][1]
    assert "bad\\x1b[2J\n\\x9b31m\\x7f\\x0d\\x08" in shown["status"][1]
    assert r"evil\x1b]0;title\x07" in shown["one sentence"][1]


# --- finding a stage -------------------------------------------------------------------------------------------------


def test_a_stage_is_found_by_name_key_part_and_pattern(first: Path) -> None:
    record = one(first, "/dense/seed1")
    for text in (record.name, record.key, record.key[:6], "dense/seed", "*/dense/*"):
        assert invoke(why.app, first, text, "--json", read=True)["key"] == record.key


def test_an_error_says_how_many_digits_a_key_needs(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    small.plan(planned_stage("n/base3"), planned_stage("n/other3"))
    for text in ("3", "ab"):  # a part of names, and of none
        code, output = invoke(why.app, tmp_path, text)
        assert (code, output.count("\n")) == (2, 1)
        assert "(a key needs at least 4 digits)" in output
    assert "digits" not in invoke(why.app, tmp_path, "n/bas4")[1]


def test_an_ambiguous_name_gives_one_sentence_with_the_candidates(first: Path) -> None:
    code, output = invoke(why.app, first, "round0")
    assert code == 2
    assert output.count("\n") == 1
    assert "name one of them" in output


def test_a_name_of_several_stages_selects_the_last_plans_stage(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    small.plan(planned_stage("a/dense", lr=0.1), started=1.0)
    small.plan(planned_stage("a/dense", lr=0.2), started=2.0)
    assert invoke(why.app, tmp_path, "a/dense", "--json", read=True)["key"] == planned_stage("a/dense", lr=0.2).key


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_counts_the_stages_of_a_finished_store(first: Path) -> None:
    document = invoke(status.app, first, "--json", read=True)
    none = {"running": 0, "failed": 0, "cancelled": 0, "waiting": 0, "blocked": 0}
    assert document["states"] == {"done": document["planned"], **none}
    assert document["kinds"]["round"]["done"] == 2
    assert document["drivers"] == []
    assert document["ended_in_the_last_hour"] == document["planned"]
    assert document["bytes"] == sum(path.stat().st_size for path in first.rglob("*") if path.is_file())
    code, output = invoke(status.app, first)
    assert code == 0
    assert "no driver is at work" in output
    assert document["left"] == {"text": "All done: 0 stages are left.", "seconds": 0.0, "stages": 0}
    assert document["left"]["text"] in output
    assert f"{document['planned']} stages ended in the last hour" in output


def test_status_reads_no_finished_stage_and_lists_the_store_once(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, listed = list[str](), list[str]()
    real = Store(first).storage.__class__.read
    listing = Store(first).storage.__class__.listing
    monkeypatch.setattr(
        Store(first).storage.__class__,
        "read",
        lambda self, path, *more, **how: (read.append(path), real(self, path, *more, **how))[1],
    )
    monkeypatch.setattr(
        Store(first).storage.__class__,
        "listing",
        lambda self, prefix="": (listed.append(prefix), listing(self, prefix))[1],
    )
    assert invoke(status.app, first)[0] == 0
    assert [path for path in read if path.startswith("stages/")] == []
    assert invoke(why.app, first, "round02/signed/lmc/seed1")[0] in (0, 2)
    assert [prefix for prefix in listed if prefix in ("", "stages")] == ["", ""]


def test_status_shows_running_failed_blocked_and_waiting(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    base, other, bad = planned_stage("n/base"), planned_stage("n/other"), planned_stage("n/bad", kind="round")
    behind = planned_stage("n/behind", kind="round", inputs={"previous": bad.key})
    done = [planned_stage(f"n/done{second}", lr=second) for second in range(3)]
    small.plan(base, other, bad, behind, *done)
    for second, stage in enumerate(done):
        small.commit(stage)
        record = tmp_path / small.store.folder(stage.key) / "record.json"
        os.utime(record, (time.time() + 60 * second,) * 2)
    fail_attempt(small.store, bad, "no such layer")
    lease = HeldLease(small.store.storage, ["sweep", "--datasets", "n"])
    try:
        start_attempt(small.store, base, lease.driver, epoch=3, epochs=10, accuracy_percent=12.5, host="here", pid=7)
        document = invoke(status.app, tmp_path, "--json", read=True)
        assert document["states"] == {"done": 3, "running": 1, "failed": 1, "cancelled": 0, "waiting": 1, "blocked": 1}
        assert document["left"]["seconds"] == pytest.approx(120, abs=1)  # two stages, at one a minute
        assert document["running"][0]["epoch"] == 3
        assert 0 <= document["running"][0]["seconds_since_last_beat"] < 30
        assert document["drivers"][0]["alive"] is True
        assert document["failed"][0]["message"] == "no such layer"
        output = invoke(status.app, tmp_path)[1]
        assert "epoch 3 of 10, 12.50 %, on here, pid 7" in output
        assert f"driver {lease.driver}" in output
        assert "sweep --datasets n" in output
        assert invoke(why.app, tmp_path, "n/base", "--json", read=True)["running"]["driver"] == lease.driver
        assert "Blocked by n/bad, which failed: ValueError: no such layer" in invoke(why.app, tmp_path, "n/behind")[1]
        assert "waits for a free device" in invoke(why.app, tmp_path, "n/other")[1]
        assert "About 2 min left, if the other stages end at the pace of the last 3." in output
    finally:
        lease.release()
    assert invoke(status.app, tmp_path, "--json", read=True)["states"]["running"] == 0
    assert "Nothing runs, and 4 stages are left. Repeat the sweep's command" in invoke(status.app, tmp_path)[1]


# --- why -------------------------------------------------------------------------------------------------------------


def test_why_says_where_a_finished_stage_was_computed(first: Path) -> None:
    document = invoke(why.app, first, "dense/seed1", "--json", read=True)
    assert document["state"] == "done"
    assert document["done"]["attempt"] == 1
    assert f"on {socket.gethostname()}" in invoke(why.app, first, "dense/seed1")[1]


def test_why_shows_the_changed_field_and_its_first_stage(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    base = planned_stage("n/base", kind="pretrain", lr=0.1)
    round1 = planned_stage("n/round1", kind="round", inputs={"previous": base.key})
    signed = planned_stage("n/signed", inputs={"ticket": round1.key})
    small.plan(base, round1, signed)
    for stage in (base, round1, signed):
        small.commit(stage)
    base2 = planned_stage("n/base", kind="pretrain", lr=0.05)
    again1 = planned_stage("n/round1", kind="round", inputs={"previous": base2.key})
    again = planned_stage("n/signed", inputs={"ticket": again1.key})
    small.plan(base2, again1, again, started=2.0)
    document = invoke(why.app, tmp_path, "n/signed", "--json", read=True)
    assert document["state"] == "waiting"
    assert document["not_cached_because"]["nearest"] == signed.key
    assert document["not_cached_because"]["changes"] == []
    assert [root["name"] for root in document["root_causes"]] == ["n/base"]
    assert document["root_causes"][0]["changes"] == [
        {"field": "training.optimizer.learning_rate", "old": 0.1, "new": 0.05}
    ]
    output = invoke(why.app, tmp_path, "n/signed")[1]
    assert "Waits for n/round1 (ticket, waiting)." in output
    assert "training.optimizer.learning_rate: 0.1 -> 0.05" in output


def test_why_and_cancel_work_on_a_running_changed_sweep(copy: Path, folder: Path) -> None:
    hold = Hold.at(copy.parent / "hold", copy, 0)
    more = ["--plugin", hold.plugin, "--set", "optimizer.weight_decay=0.001"]
    process = start(*options(folder, copy, *more))
    try:
        wait_for(hold.is_held, process)
        document = invoke(status.app, copy, "--json", read=True)
        assert document["states"]["running"] == 1
        assert document["superseded"] > 0
        name = document["running"][0]["name"]
        output = invoke(why.app, copy, name)[1]
        assert "training.optimizer.weight_decay: 0.0005 -> 0.001" in output
        stopped = invoke(cancel.app, copy, name, "--json", read=True)["stages"]
        assert [stage["asked"] for stage in stopped] == [True]
        hold.let_go()
        time.sleep(0.15)  # the stage polls every 20 ms
        hold.plugin.with_name("held").unlink()
        hold.plugin.with_name("hold").write_text(f"{copy}\n0")  # for the next stage
        wait_for(hold.is_held, process)
        assert "Cancelled: by orchestrator.cancel" in invoke(status.app, copy)[1]
        assert invoke(status.app, copy, "--json", read=True)["states"]["blocked"] > 0
        assert invoke(cancel.app, copy)[1].startswith("Asked driver ")
        hold.let_go()
        code, output = finish(process)
    finally:
        kill_all(process)
    assert code == 130, output
    assert "Interrupted; the same command goes on from here." in output
    after = invoke(status.app, copy, "--json", read=True)
    assert (after["states"]["cancelled"], after["states"]["failed"], after["failed"]) == (1, 0, [])
    assert after["cancelled"][0]["cause"] == "cancelled"
    assert f"cancelled: {name}  Cancelled: by orchestrator.cancel" in invoke(status.app, copy)[1]
    assert "the next sweep tries the stage again" in invoke(why.app, copy, name)[1]


def test_why_compares_with_the_record_of_the_nearest_labels(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    twin = planned_stage("n/base", lr=0.05)
    sound = planned_stage("n/sound", lr=0.1)
    far = planned_stage("n/far").model_copy(update={"labels": replace(twin.labels, chain=2, dataset="m")})
    labels = replace(twin.labels, preset="reference")
    reference = planned_stage("n/reference").model_copy(update={"labels": labels})
    small.plan(twin, sound, far, reference)
    for stage in (twin, sound, far):
        small.commit(stage)
    comparison = invoke(why.app, tmp_path, "n/reference", "--json", read=True)["not_cached_because"]
    assert comparison["nearest"] == twin.key
    assert comparison["changes"] == [
        {"field": "labels.preset", "old": "sound", "new": "reference"},
        {"field": "training.optimizer.learning_rate", "old": 0.05, "new": 0.1},
    ]
    assert "  labels.preset: sound -> reference" in invoke(why.app, tmp_path, "n/reference")[1]


def test_why_shows_times_below_a_second_unrounded(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    stage = planned_stage("n/base")
    small.plan(stage)
    small.commit(stage, seconds=0.234)
    assert ", in 0.23 s." in invoke(why.app, tmp_path, "n/base")[1]


def test_durations_are_written_for_people() -> None:
    texts = {0: "0 s", 1e-6: "0 s", 0.04: "0.04 s", 0.2: "0.2 s", 3.46: "3.5 s", 12.4: "12 s", 89: "89 s", 90: "2 min"}
    assert {seconds: duration(seconds) for seconds in texts} == texts


def test_a_cancelled_stage_is_shown_as_cancelled_and_blocks_its_successors(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    stage = planned_stage("n/base")
    behind = planned_stage("n/behind", inputs={"ticket": stage.key})
    small.plan(stage, behind)
    fail_attempt(small.store, stage, "by orchestrator.cancel", cause="cancelled")
    document = invoke(status.app, tmp_path, "--json", read=True)
    assert {state: n for state, n in document["states"].items() if n} == {"cancelled": 1, "blocked": 1}
    assert "Blocked by n/base, which was cancelled" in invoke(why.app, tmp_path, "n/behind")[1]
    assert "the next sweep tries the stage again" in invoke(why.app, tmp_path, "n/base")[1]


def test_why_says_that_an_older_version_wrote_the_plan(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    small.plan(planned_stage("n/base").model_copy(update={"science": {}, "parts": {}}))
    assert "an older version wrote its plan" in invoke(why.app, tmp_path, "n/base")[1]


def test_a_plan_of_a_real_study_keeps_its_science_compactly() -> None:
    stages, stored = plan_and_stored()
    assert len(stages) > 500
    assert len(stored.model_dump_json()) < 700 * len(stages)
    assert stored.science(stored.stages[0])["training"]["optimizer"]["learning_rate"] == 0.1


# --- logs ------------------------------------------------------------------------------------------------------------


def test_logs_print_an_attempt_as_text_and_as_json(copy: Path) -> None:
    code, output = invoke(logs.app, copy, "dense/seed1")
    assert code == 0
    assert "done:" in output
    code, output = invoke(logs.app, copy, "dense/seed1", "--json", "-f")
    lines = [json.loads(line) for line in output.splitlines()]
    assert {line["attempt"] for line in lines} == {1}
    code, output = invoke(logs.app, copy, "dense/seed1", "--attempt", 4)
    assert (code, output.count("\n")) == (2, 1)


def test_logs_of_a_missing_attempt_give_one_sentence_even_with_follow(copy: Path) -> None:
    code, output = invoke(logs.app, copy, "dense/seed1", "--attempt", 3, "-f")
    assert (code, output.count("\n")) == (2, 1)
    assert "has no attempt 3; it has 1" in output


def test_logs_do_not_wait_for_a_stage_that_no_driver_runs(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    small.plan(planned_stage("n/base"))
    for more in ([], ["-f"]):
        code, output = invoke(logs.app, tmp_path, "n/base", *more)
        assert (code, output.count("\n")) == (2, 1)
        assert "was not tried yet" in output


def test_logs_follow_to_the_next_attempt_and_end_with_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "POLL_S", 0.02)
    small = SmallStore(tmp_path)
    stage = planned_stage("n/base")
    small.plan(stage)
    lease = HeldLease(small.store.storage, [])
    first = start_attempt(small.store, stage, lease.driver)
    (first / "log.txt").write_text("one\nhal")

    def work() -> None:
        time.sleep(0.3)
        append_to(first / "log.txt", "f\ntwo\n")
        time.sleep(0.1)
        fail_attempt(small.store, stage, "lost", attempt=1, retry=True, driver=lease.driver)
        second = start_attempt(small.store, stage, lease.driver)
        append_to(second / "log.txt", "three\n")
        time.sleep(0.2)
        append_to(second / "log.txt", "four")
        small.commit(stage, attempt=2)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        code, output = invoke(logs.app, tmp_path, "n/base", "-f")
    finally:
        thread.join()
        lease.release()
    assert code == 0
    assert output.split() == ["one", "half", "two", "three", "four"]


# --- cancel, unlock --------------------------------------------------------------------------------------------------


def test_cancel_says_that_a_stage_is_not_running(first: Path) -> None:
    assert "is done, not running; nothing was done" in invoke(cancel.app, first, "dense/seed1")[1]
    assert "No driver is at work in this store" in invoke(cancel.app, first)[1]


def plant_lease(store: Path, driver: str, **changes: Any) -> None:
    held = HeldLease(Store(store).storage, ["sweep"])
    content = json.loads((store / held.stop_file).with_name("lease.json").read_text())
    held.release()
    (store / "drivers" / driver).mkdir(parents=True, exist_ok=True)
    (store / "drivers" / driver / "lease.json").write_text(json.dumps({**content, "driver": driver, **changes}))


def test_unlock_removes_stale_leases_and_keeps_live_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SmallStore(tmp_path).store
    plant_lease(tmp_path, "dead", process_start="1")
    plant_lease(tmp_path, "far", host="elsewhere")
    monkeypatch.setattr(leases, "STALE_AFTER_S", 0.2)
    monkeypatch.setattr(unlock, "STALE_AFTER_S", 0.2)
    monkeypatch.setattr(unlock, "POLL_S", 0.1)
    living = HeldLease(store.storage, [])
    try:
        document = invoke(unlock.app, tmp_path, "--stale", "--json", read=True)
        assert document == {"removed": ["dead", "far"], "left": [living.driver]}
        assert not living.lost
        code, output = invoke(unlock.app, tmp_path, "--driver", living.driver)
        assert (code, output.count("\n")) == (2, 1)
        assert "is alive" in output
        assert "Removed" in invoke(unlock.app, tmp_path, "--driver", living.driver, "--yes")[1]
        living.check()
        assert living.lost
    finally:
        living.release()
    assert "nothing to unlock" in invoke(unlock.app, tmp_path, "--stale")[1]
    assert invoke(unlock.app, tmp_path)[0] == 2
    assert "holds no lease" in invoke(unlock.app, tmp_path, "--driver", "nobody")[1]


# --- verify ----------------------------------------------------------------------------------------------------------


def test_verify_finds_a_flipped_bit_and_the_next_sweep_recomputes_the_stage(
    copy: Path, first: Path, folder: Path
) -> None:
    assert invoke(verify.app, copy, "--json", read=True)["set_aside"] is False
    record = one(copy, "/round01")
    weights = copy / Store(copy).out(record.key) / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code, output = invoke(verify.app, copy, "--check-only")
    assert code == 1
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    code, output = invoke(verify.app, copy, "--json")
    document = json.loads(output)
    assert code == 1
    assert [(fault["kind"], fault["key"]) for fault in document["faults"]] == [("artifact", record.key)]
    assert document["set_aside"] is True
    assert document["made_anew"] == [record.name]
    code, output = invoke(verify.app, copy)
    assert code == 0
    assert f"its input {record.key} has no record any more" in output
    assert "quarantined" in invoke(why.app, copy, record.name)[1]
    code, output = in_process(*options(folder, copy))
    assert code == 0, output
    assert one(copy, "/round01").attempt == 2
    assert_same_bits(copy, first)


def test_verify_reads_the_records_and_not_their_copies(copy: Path) -> None:
    store = Store(copy)
    store.records()
    store.write_index()
    record = one(copy, "/round01")
    path = copy / store.folder(record.key) / "record.json"
    times = path.stat()
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 2'))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    code, output = invoke(verify.app, copy, "--json")
    assert code == 1
    assert [fault["kind"] for fault in json.loads(output)["faults"]] == ["record"]


def test_verify_finds_torn_misplaced_and_doubled_records(copy: Path) -> None:
    torn, moved, doubled = one(copy, "/round01"), one(copy, "/round02"), one(copy, "/dense/seed1")
    store = Store(copy)
    folders = [store.folder(r.key) for r in (torn, moved, doubled) if store.record(r.key)]
    (copy / folders[0] / "record.json").write_text("{")
    shutil.copy(copy / folders[2] / "record.json", copy / folders[1] / "record.json")
    shutil.copytree(copy / folders[2], copy / folders[2].replace("dense", "other"))
    code, output = invoke(verify.app, copy, "--json")
    assert code == 1
    assert sorted(fault["kind"] for fault in json.loads(output)["faults"]) == ["copy", "record", "record"]
    assert invoke(verify.app, copy)[0] == 0
    assert invoke(status.app, copy, "--json", read=True)["states"]["waiting"] == 2  # the third has its record again
    assert len(list((copy / "set-aside" / "stages").glob("*/*/record.json"))) == 1


def test_verify_sets_aside_what_is_no_file_of_a_store(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    os.mkfifo(copy / "plans" / "zz.json")
    (copy / "stages" / "linked").symlink_to(tmp_path / "outside")
    code, output = invoke(verify.app, copy, "--json")
    assert code == 1
    faults = json.loads(output)["faults"]
    assert {fault["name"]: fault["kind"] for fault in faults} == {"plans/zz.json": "plan", "stages/linked": "irregular"}
    assert invoke(verify.app, copy)[0] == 0
    assert (copy / "set-aside" / "stages" / "linked").is_symlink()
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["kept"]


# --- gc --------------------------------------------------------------------------------------------------------------


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_gc_removes_files_only_with_delete_and_changes_no_number(copy: Path, first: Path, folder: Path) -> None:
    before, frames = contents(copy), load(copy)
    document = invoke(gc.app, copy, "--json", read=True)
    assert contents(copy) == before
    assert document["bytes"] == sum(len(before[path]) for path in document["paths"]) > 0
    assert "Nothing was removed" in invoke(gc.app, copy)[1]
    assert invoke(gc.app, copy, "--delete", "--json", read=True)["paths"] == document["paths"]
    after = contents(copy)
    assert before.keys() - after.keys() == set(document["paths"])
    assert not any(path.endswith((".parquet", ".json", "log.txt")) for path in document["paths"])
    again = load(copy)
    for name in ("stages", "metrics", "probes", "tickets"):
        assert getattr(again, name).equals(getattr(frames, name)), name
    assert invoke(verify.app, copy)[0] == 0
    assert "nothing to remove" in invoke(gc.app, copy)[1]
    assert "gc removed its weights" in invoke(why.app, copy, "dense/seed1")[1]
    code, output = in_process(*options(folder, copy))
    assert code == 0
    assert "Nothing to compute" in output


def test_a_sweep_recomputes_collected_stages_that_it_reads(copy: Path, first: Path, folder: Path) -> None:
    invoke(gc.app, copy, "--delete")
    retrain = one(copy, "/retrain/seed1")
    store = Store(copy)
    store.quarantine(retrain.key, "a test")
    code, output = in_process(*options(folder, copy))
    assert code == 0, output
    assert "3 stages are computed again" in output  # its ticket's round, the round before, and the pretraining
    assert_same_bits(copy, first)
    document = invoke(gc.app, copy, "--json", read=True)
    assert "artifacts of attempts that do not count" in document["categories"]


def test_a_refused_sweep_sets_nothing_aside(copy: Path, folder: Path) -> None:
    invoke(gc.app, copy, "--delete")
    Store(copy).quarantine(one(copy, "/retrain/seed1").key, "a test")
    before = set(Store(copy).records())
    code, output = in_process(*options(folder, copy, "--pack", 2))
    assert (code, "only GPUs are shared" in output) == (2, True), output
    assert set(Store(copy).records()) == before


def test_gc_keeps_the_inputs_of_an_unfinished_stage(copy: Path) -> None:
    record = one(copy, "/retrain/seed1")
    Store(copy).quarantine(record.key, "a test")
    document = invoke(gc.app, copy, "--json", read=True)
    needed = Store(copy).out(record.inputs["ticket"])
    assert not any(path.startswith(needed) for path in document["paths"])
    kept = invoke(gc.app, copy, "--keep-weights", "--json", read=True)
    assert "weights that no planned stage needs" not in kept["categories"]


def test_gc_keeps_the_inputs_of_an_earlier_plan_unless_it_is_superseded(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    upstream = planned_stage("n/one")
    labels = upstream.labels
    waiting = planned_stage("n/two", inputs={"ticket": upstream.key}).model_copy(update={"labels": labels})
    small.plan(upstream, waiting, started=1.0)
    small.plan(planned_stage("n/other").model_copy(update={"labels": labels}), started=2.0)
    small.commit(upstream)
    assert invoke(gc.app, tmp_path, "--json", read=True)["paths"] == []
    paths = invoke(gc.app, tmp_path, "--superseded", "--json", read=True)["paths"]
    assert [path.rpartition("/")[2] for path in paths] == ["weights.safetensors"]


def flip(path: Path, part: bytes) -> None:
    """Flip a bit within a file: of the first byte of this part."""
    content = bytearray(path.read_bytes())
    content[content.index(part)] ^= 1
    path.write_bytes(content)


def cut(path: Path, part: bytes) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [flip, cut])
def test_gc_stops_at_a_damaged_plan(tmp_path: Path, damage: Callable[[Path, bytes], None]) -> None:
    small = SmallStore(tmp_path)
    upstream = planned_stage("n/one")
    waiting = planned_stage("n/two", inputs={"ticket": upstream.key})
    small.plan(upstream, waiting)
    small.commit(upstream)
    (plan,) = (tmp_path / "plans").iterdir()
    damage(plan, upstream.key.encode() + b'"}')  # damages the input's key
    before = contents(tmp_path)
    for more in ([], ["--delete"], ["--delete", "--superseded"], ["--json"]):
        code, output = invoke(gc.app, tmp_path, *more)
        assert (code, output.count("\n")) == (2, 1)
        assert re.search(rf"plans/{plan.name} (differs from its checksum|is )", output)
        assert "repeat its sweep's command" in output
    assert contents(tmp_path) == before
    assert plan.name in invoke(status.app, tmp_path)[1]
    assert plan.name in invoke(status.app, tmp_path, "--json", read=True)["damaged_plans"][0]
    assert invoke(verify.app, tmp_path, "--check-only")[0] == 1
    assert contents(tmp_path) == before
    small.plan(upstream, waiting)  # as the next sweep of the same command
    assert invoke(gc.app, tmp_path, "--json", read=True)["paths"] == []


def test_verify_quarantines_a_damaged_plan_and_the_next_sweep_rewrites_it(copy: Path, folder: Path) -> None:
    (plan,) = (copy / "plans").iterdir()
    written = json.loads(plan.read_bytes())["stages"]
    flip(plan, b'"labels"')
    code, output = invoke(verify.app, copy, "--json")
    document = json.loads(output)
    assert code == 1
    assert [(fault["kind"], fault["folder"]) for fault in document["faults"]] == [("plan", f"plans/{plan.name}")]
    assert document["records"] == len(by_name(copy))
    assert not plan.exists()
    assert (copy / "set-aside" / "plans" / plan.name).exists()
    assert invoke(verify.app, copy)[0] == 0
    assert invoke(status.app, copy, "--json", read=True)["damaged_plans"] == []
    code, output = in_process(*options(folder, copy))
    assert code == 0, output
    assert json.loads(plan.read_bytes())["stages"] == written


def test_verify_keeps_a_plan_that_a_sweep_rewrote_meanwhile(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    small.plan(planned_stage("n/one"))
    (plan,) = (tmp_path / "plans").iterdir()
    cut(plan, b"")
    verification = check(small.store, lambda done, total: None)
    small.plan(planned_stage("n/one"))
    quarantine(small.store, verification.faults)
    assert [fault.kind for fault in verification.faults] == ["plan"]
    assert plan.exists()


def test_gc_says_why_each_file_may_be_removed(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    done, open_, old = planned_stage("n/done"), planned_stage("n/open"), planned_stage("n/old")
    small.plan(old, started=1.0)
    small.plan(done, open_.model_copy(update={"labels": done.labels}), started=2.0)
    small.plan(planned_stage("n/old", lr=0.2), started=3.0)
    small.commit(done)
    small.store.quarantine(done.key, "a test")
    small.commit(done)
    for stage in (done, open_, old):
        small.store.locate(stage.kind, stage.name, stage.key)
        checkpoint = tmp_path / small.store.folder(stage.key) / "attempts/1/checkpoint/000001.safetensors"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"0123456789")
    (tmp_path / "drivers" / "dead").mkdir(parents=True)
    (tmp_path / "drivers" / "dead" / "revoked.json").write_text("x")
    categories = invoke(gc.app, tmp_path, "--superseded", "--json", read=True)["categories"]
    assert {name: category["files"] for name, category in categories.items()} == {
        "checkpoints of finished stages": 1,
        "checkpoints of unfinished stages that no plan wants": 1,
        "artifacts of attempts that do not count": 1,
        "records that were set aside": 1,
        "weights that no planned stage needs": 1,
        "folders of drivers that are gone": 1,
    }
    assert categories["checkpoints of finished stages"]["bytes"] == 10


def test_recomputation_reaches_up_to_the_first_stored_inputs() -> None:
    inputs = {"d": ["c"], "c": ["b"], "b": ["a"], "e": ["b"]}
    assert to_recompute(inputs, ["d"], {"c", "b"}) == {"c", "b"}
    assert to_recompute(inputs, ["d"], {"b"}) == set()
    assert to_recompute(inputs, [], {"a", "b", "c"}) == set()


def test_gc_removes_nothing_while_a_driver_runs(copy: Path) -> None:
    lease = HeldLease(Store(copy).storage, [])
    try:
        before = contents(copy)
        code, output = invoke(gc.app, copy, "--delete")
        assert (code, output.count("\n")) == (2, 1)
        assert lease.driver in output
        assert contents(copy).keys() == before.keys()
    finally:
        lease.release()


# --- in a bucket -----------------------------------------------------------------------------------------------------


def test_the_commands_work_in_a_bucket(s3: str, first: Path) -> None:
    bucket = f"{s3}/operating"
    storage = Store(bucket).storage
    for path, content in contents(first).items():
        if path.startswith(("stages/", "plans/")):
            storage.write(path, content)
    document = invoke(status.app, bucket, "--json", read=True)
    assert document["states"]["done"] == document["planned"] > 0
    assert document["ended_in_the_last_hour"] == document["planned"]
    assert invoke(verify.app, bucket)[0] == 0
    record = one(first, "/dense/seed1")
    storage.write(f"{Store(first).out(record.key)}/weights.safetensors", b"torn")
    storage.remove([f"{Store(first).out(one(first, '/twin').key)}/metrics.parquet"])
    assert invoke(verify.app, bucket)[0] == 1
    assert invoke(status.app, bucket, "--json", read=True)["states"]["waiting"] == 2
    assert invoke(logs.app, bucket, record.name, "-f")[0] == 0
    assert invoke(gc.app, bucket, "--delete")[0] == 0
    assert invoke(verify.app, bucket)[0] == 0
    assert invoke(unlock.app, bucket, "--stale")[0] == 0
    assert invoke(why.app, bucket, record.name)[0] == 0
