"""Ray with GPUs: one actor each, shared by several stages, and what is lost when its process dies. Slow.

The GPUs are a number that Ray is told; the stages run on the CPU.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import small_sweeps
from tests.support.small_sweeps import PATTERNS
from tests.support.sweep_processes import assert_same_results, by_name, in_process, run

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=30)]

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_enable_autoscaler_v2"] = "1"
import ray

start = ray.init
ray.init = lambda **options: start(**{**options, "num_cpus": 2, "num_gpus": 2})

from orchestrator.backends.base import Lost
from orchestrator.backends.ray.backend import RayBackend
from workers.attempts.attempt import Attempt
from workers.stages.execution import Execution
from workers.stages.job import Job
from workers.stages import Data, Model, Optimizer, Pretrain, Setting, Training

root = Path(sys.argv[1])
execution = Execution("cpu", None, str(root / "cache"), plugins=(str(root / "patterns.py"),))
setting = Setting("sound", Data("patterns", "patterns-1", 0.1), Model("resnet1d", {"width": 4}))


def submit(name, epochs):
    (root / name).mkdir()
    stage = Pretrain(setting, Training(epochs, 32, Optimizer(0.05)), "interpolated", 1, 1)
    backend.submit([Attempt(Job(name, name, stage, {}), str(root), name, ("stop",), execution)])


def ended(count):
    outcomes_by_name = []
    while len(outcomes_by_name) < count:
        outcomes_by_name += [(group[0].job.name, outcomes[0]) for group, outcomes in backend.wait(60)]
    return outcomes_by_name


class Notices:
    # machines that are about to go

    def get_draining_nodes(self, timeout):
        return {node["NodeID"]: 0 for node in ray.nodes()}


backend = RayBackend(None, None, "auto")
report = {"devices": backend.devices}
for number in range(4):
    submit(f"stage-{number}", 3)
outcomes = [outcome for _, outcome in ended(4)]
assert all(getattr(outcome, "status", "lost") == "done" for outcome in outcomes), outcomes
report["status"] = sorted(outcome.status for outcome in outcomes)
report["beside"] = sorted(outcome.machine["stages_beside"] for outcome in outcomes)
logs = [(root / f"stage-{number}" / "log.txt").read_text() for number in range(4)]
report["processes"] = len({log.split("pid ")[1].split()[0] for log in logs})

submit("victim", 10_000)
while not (root / "victim" / "progress.json").exists():
    time.sleep(0.1)
os.kill(int((root / "victim" / "log.txt").read_text().split("pid ")[1].split()[0]), signal.SIGKILL)
((name, lost),) = ended(1)
report["lost"] = [name, isinstance(lost, Lost), lost.message]
submit("after-1", 1)
submit("after-2", 1)
report["after"] = sorted(outcome.status for _, outcome in ended(2))

for number in range(4):
    submit(f"beside-{number}", 10_000)
while len(list(root.glob("beside-*/progress.json"))) < 4:
    time.sleep(0.1)
((first, *_),) = [each.group for each in backend._in_flight.values() if each.group[0].job.name == "beside-0"]
backend.end(first)
report["ended"] = {name: lost.how for name, lost in ended(2)}
(root / "stop").touch()
ended(2)
backend.close()

backend = RayBackend(None, None, "auto", scale_to=2)
while not backend.devices:
    backend.wait(1)
backend._drop(backend._gpus[0])
backend.wanted = 2  # as the driver says while two stages are ready
for _ in range(300):
    backend.wait(0.1)
    if backend.devices == 2:
        break
    time.sleep(0.1)
report["replaced"] = backend.devices
backend.wanted = 0
backend._cluster.gcs = Notices()
for _ in range(100):  # until the actor has told where it is
    backend.draining()
    report["devices_that_stay"] = backend.devices
    if not report["devices_that_stay"]:
        break
    time.sleep(0.1)
backend.close()
print(json.dumps(report))
"""


UNEVEN = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(head_node_args={"num_cpus": 4, "num_gpus": 0}, initialize_head=True)
cluster.add_node(num_cpus=1, num_gpus=4)
from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.backend import RayBackend

from orchestrator.backends.ray.cluster import devices_of

print(devices_of(cluster.address, "auto"), devices_of(cluster.address, "cpu"))
try:
    RayBackend(cluster.address, None, "cuda", ranks=2)
except BackendError as error:
    print(error)
cluster.shutdown()
"""


# A sweep whose stages compute on the CPU, on a GPU that is a number told to Ray.
SWEEP = """
import os

os.environ["RAY_AUTH_MODE"] = "token"
import ray

from orchestrator.backends.ray import backend as module
from orchestrator.sweep import app

start, backend = ray.init, module.RayBackend
ray.init = lambda **options: start(**{**options, "num_cpus": 2, "num_gpus": 1})
module.RayBackend = lambda address, most, device, *more: backend(address, most, "auto", *more)
app()
"""
# As torch says it when a kernel has failed, in the third training batch of whoever comes first.
DYING = '''
"""The built-in network for signals, whose GPU dies once."""

from dataclasses import replace
from pathlib import Path

import torch

from workers.models import ARCHITECTURES

ARMED = Path(__file__).with_name("armed")
build = ARCHITECTURES["resnet1d"].build


def die(module, inputs):
    module.passes = getattr(module, "passes", 0) + 1
    if module.training and module.passes == 3 and ARMED.exists():
        ARMED.unlink()
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def dying(in_channels, num_classes, **options):
    model = build(in_channels, num_classes, **options)
    model.register_forward_pre_hook(die)
    return model


ARCHITECTURES["resnet1d"] = replace(ARCHITECTURES["resnet1d"], function=dying)
'''


@pytest.mark.long  # it starts a cluster of its own
def test_a_gpu_without_a_cpu_core_does_not_count() -> None:
    done = subprocess.run([sys.executable, "-c", UNEVEN], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[0] == "1 5"  # what a plan foresees
    assert "--gpus-per-stage 2" in done.stdout
    assert "has 1 GPUs for stages" in done.stdout


@pytest.mark.long
def test_stages_share_gpu_actors_and_outlive_them(tmp_path: Path) -> None:
    (tmp_path / "patterns.py").write_text(PATTERNS)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["devices"] == 2
    assert report["status"] == ["done"] * 4
    assert report["beside"][-1] == 1  # two on each
    assert report["processes"] == 2
    assert report["lost"][:2] == ["victim", True]
    assert "ActorDied" in report["lost"][2] or "ActorUnavailable" in report["lost"][2]
    assert report["after"] == ["done", "done"]
    assert report["ended"].pop("beside-0") == "hung"
    assert list(report["ended"].values()) == ["node"]  # no fault of the one beside it
    assert report["replaced"] == 2
    assert report["devices_that_stay"] == 0


@pytest.mark.long
def test_a_stage_whose_gpu_dies_is_repeated_in_a_new_process(tmp_path: Path) -> None:
    folder = small_sweeps.prepare(tmp_path / "sweep", **small_sweeps.ONE_ROUND)
    (folder / "dying.py").write_text(DYING)
    undisturbed, store = folder / "undisturbed", folder / "store"
    code, output = in_process(*small_sweeps.options(folder, undisturbed, "--backend", "inline", "--device", "cpu"))
    assert code == 0, output
    (folder / "armed").touch()
    one_at_a_time = ["--device", "cpu", "--max-concurrent", 1, "--plugin", folder / "dying.py"]
    code, output = run(*small_sweeps.options(folder, store, *one_at_a_time), program=("-c", SWEEP))
    assert code == 0, output
    assert not (folder / "armed").exists()
    assert_same_results(undisturbed, store)
    (name,) = (name for name, record in by_name(store).items() if record.attempt == 2)
    (failure,) = (json.loads(path.read_text()) for path in store.glob("stages/*/*/attempts/*/failure.json"))
    assert (failure["name"], failure["cause"]) == (name, "crash")
    assert "ActorDied" in failure["message"]
    logs = sorted(store.glob("stages/*/*/attempts/*/log.txt"), key=lambda path: path.read_text()[:23])  # as they began
    processes = [re.findall(r"pid (\d+)", log.read_text())[0] for log in logs]
    died = logs.index(store / failure["log"])
    assert "AcceleratorError" in logs[died].read_text()
    assert len(set(processes[: died + 1])) == 1
    assert set(processes[died + 1 :]) == {processes[-1]} != {processes[died]}
