"""Sweeps whose trainings use two processes each, under Ray Train, against one process; a killed rank. Slow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from orchestrator.store import Store
from tests.support import small_sweeps
from tests.support.sweep_processes import (
    WITHOUT_REPORT,
    Hold,
    assert_same_results,
    by_name,
    finish,
    in_process,
    kill_all,
    run,
    start,
    wait_for,
)

# each starts several gangs, which takes half a minute on a quiet machine and minutes on a busy one
pytestmark = [pytest.mark.slow(seconds=240), pytest.mark.timeout(600)]

# Two GPUs that are a number told to Ray: the stages run on CPUs, and the gang's ranks talk by gloo.
ON_GPUS = """
import json, os, re, sys, time
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "token"
import ray
import ray.train.torch

start, torch_config = ray.init, ray.train.torch.TorchConfig
ray.init = lambda **options: start(**{**options, "num_cpus": 2, "num_gpus": 2})
ray.train.torch.TorchConfig = lambda backend, **options: torch_config(backend="gloo", **options)

from orchestrator.backends.ray.backend import RayBackend
from workers.attempts.attempt import Attempt
from workers.stages.execution import Execution
from workers.stages.job import Job
from workers.stages import Data, Gang, Model, Optimizer, Pretrain, Setting, Training

root = Path(sys.argv[1])
execution = Execution("cpu", None, str(root / "cache"), plugins=(sys.argv[2],))
setting = Setting("sound", Data("patterns", "patterns-1", 0.1), Model("resnet1d", {"width": 4}))
backend = RayBackend(None, None, "auto", ranks=2)


def submit(name, ranks, epochs=1):
    (root / name / "1").mkdir(parents=True)
    stage = Pretrain(setting, Training(epochs, 32, Optimizer(0.05), gang=Gang(ranks)), "interpolated", 1, 1)
    attempt = Attempt(Job(name, name, stage, {}), str(root), f"{name}/1", ("stop",), execution)
    backend.submit([attempt])
    return attempt


def ended():
    ended_groups = []
    while not ended_groups:
        ended_groups = backend.wait(120)
    return ended_groups[0][1][0]


def pids(name):
    return sorted(set(re.findall(r"pid (\\d+)", (root / name / "1" / "log.txt").read_text())))


reports = []
for name, ranks in (("before", 1), ("first", 2), ("second", 2), ("after", 1)):
    submit(name, ranks)
    reports.append([ended().status, pids(name)])
hanging = submit("hanging", 2, 10_000)
progress = root / "hanging" / "1" / "progress.json"
while not progress.exists() or "trained by" not in (root / "hanging" / "1" / "log.txt").read_text():
    backend.wait(0.1)
named = json.loads(progress.read_text())["node"]
backend._cluster.draining_nodes = lambda: backend._gangs[0].nodes
draining = named in backend.draining()
del backend._cluster.draining_nodes
backend.end(hanging)
lost = ended()
submit("again", 2)
print(json.dumps({"reports": reports, "draining": draining, "lost": lost.how, "again": ended().status}))
backend.close()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # ten times this rate amplifies rounding to percents of a weight within the epoch, on some processors
    recipe = {**small_sweeps.ONE_ROUND, "optimizer": {"learning_rate": 0.002}}
    return small_sweeps.prepare(tmp_path_factory.mktemp("gangs"), **recipe)


def options(folder: Path, store: Path, *more: object) -> list[object]:
    return small_sweeps.options(folder, store, "--device", "cpu", *more, architecture="resnet20")


@pytest.fixture(scope="module")
def gang(folder: Path) -> Path:
    """The store of an undisturbed sweep with gangs."""
    code, output = run(*options(folder, folder / "gang", "--gpus-per-stage", 2), program=WITHOUT_REPORT)
    assert code == 0, output
    return folder / "gang"


def logs(store: Path, kind: str) -> str:
    return "\n".join(path.read_text() for path in sorted(store.glob(f"stages/{kind}/*/attempts/*/log.txt")))


def test_a_sweep_with_gangs_gives_the_results_of_one_without(folder: Path, gang: Path) -> None:
    code, output = in_process(*options(folder, folder / "alone", "--backend", "inline"))
    assert code == 0, output
    one, two = by_name(folder / "alone"), by_name(gang)
    assert one.keys() == two.keys()
    assert not {record.key for record in one.values()} & {record.key for record in two.values()}
    name = "patterns/resnet20/aws/chain1/round00"  # of what starts from it, a weight at the threshold may be pruned
    weights = [
        load_file(store / Store(store).out(records[name].key) / "weights.safetensors")
        for store, records in ((folder / "alone", one), (gang, two))
    ]
    for tensor, (expected, found) in {key: (weights[0][key], weights[1][key]) for key in weights[0]}.items():
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5, msg=tensor)
    for name, record in one.items():
        if record.kind == "train":
            assert two[name].results["test_loss_nats"] == pytest.approx(record.results["test_loss_nats"], abs=0.02)


def test_one_gang_runs_all_trainings_of_a_sweep(gang: Path) -> None:
    crews = [re.findall(r"trained by (.*)", logs(gang, kind)) for kind in ("pretrain", "round", "train")]
    assert [len(crew_of_kind) for crew_of_kind in crews] == [1, 1, 4]
    assert len({crew for crew_of_kind in crews for crew in crew_of_kind}) == 1
    assert crews[0][0].count("pid") == 2


@pytest.mark.long
@pytest.mark.parametrize("victim", ["a rank", "ray::TrainController"])
def test_a_new_gang_follows_one_that_lost_a_process(folder: Path, gang: Path, tmp_path: Path, victim: str) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store, records=2)
    process = start(*options(folder, store, "--gpus-per-stage", 2, "--checkpoint-interval", 0, "--plugin", hold.plugin))
    try:
        wait_for(hold.is_held, process)
        crew = re.findall(r"trained by (.*)", logs(store, "*"))[-1]
        if victim == "a rank":
            pid = int(re.findall(r"pid (\d+)", crew)[1])
        else:
            own = psutil.Process(process.pid).children(recursive=True)
            [pid] = [each.pid for each in own if each.name().startswith(victim[:15])]
        os.kill(pid, signal.SIGKILL)
        hold.let_go()
        code, output = finish(process)
    finally:
        kill_all(process)
    assert code == 0, output
    attempts = [record.attempt for record in by_name(store).values()]
    assert sorted(attempts)[-2:] == [1, 2]
    (failure,) = store.glob("stages/*/*/attempts/*/failure.json")
    why = "WorkerGroupError" if victim == "a rank" else "Actor"
    assert re.search(rf"of a gang of 2, rank .* was lost: {why}", failure.read_text())
    assert len(set(re.findall(r"trained by (.*)", logs(store, "*")))) == 2
    assert_same_results(gang, store)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--backend", "inline", "--gpus-per-stage", 2], "--backend inline is one process"),
        (["--gpus-per-stage", 4, "--scale-to", 3, "--address", "127.0.0.2:1"], "give at least --scale-to 4"),
    ],
)
def test_a_gang_that_the_options_rule_out_is_refused_before_ray_starts(
    folder: Path, tmp_path: Path, more: list[object], message: str
) -> None:
    code, output = in_process(*options(folder, tmp_path / "store", *more))
    assert code == 2
    assert message in output
    assert not (tmp_path / "store").exists()


@pytest.mark.long
def test_a_gang_larger_than_the_machine_is_refused_before_the_start(folder: Path, tmp_path: Path) -> None:
    code, output = run(*options(folder, tmp_path / "store", "--gpus-per-stage", 16, "--set", "batch_size=64"))
    assert code == 2
    assert "none could ever start; give at most" in output
    assert not (tmp_path / "store").exists()


@pytest.mark.long
def test_a_gang_takes_idle_gpus_gives_them_back_and_can_be_ended(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_GPUS, str(tmp_path), str(folder / "patterns.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert [status for status, _ in report["reports"]] == ["done"] * 4
    before, first, second, after = (pids for _, pids in report["reports"])
    assert first == second  # the same gang
    assert len({*before, *first, *after}) == 4
    assert (report["draining"], report["lost"], report["again"]) == (True, "hung", "done")
