"""Ray with GPUs: one actor each, shared by several stages, and what is lost when its process dies. Slow.

The GPUs are a number that Ray is told; the stages run on the CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.small_sweeps import PATTERNS

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_enable_autoscaler_v2"] = "1"
import ray

start = ray.init
ray.init = lambda **options: start(**{**options, "num_cpus": 2, "num_gpus": 2})

from orchestrator.backends.base import Lost
from orchestrator.backends.ray_tasks import RayBackend
from workers.attempt import Attempt
from workers.execution import Execution
from workers.job import Job
from workers.stages import Data, Model, Optimizer, Pretrain, Setting, Training

root = Path(sys.argv[1])
execution = Execution("cpu", None, str(root / "cache"), plugins=(str(root / "patterns.py"),))
setting = Setting("sound", Data("patterns", "patterns-1", 0.1), Model("resnet1d", {"width": 4}))


def submit(name, epochs):
    (root / name).mkdir()
    stage = Pretrain(setting, Training(epochs, 32, Optimizer(0.05)), "aws", 1, 1)
    backend.submit([Attempt(Job(name, name, stage, {}), str(root), name, ("stop",), execution)])


def ended(count):
    found = []
    while len(found) < count:
        found += [(group[0].job.name, outcomes[0]) for group, outcomes in backend.wait(60)]
    return found


class Notices:
    # machines that are about to go

    def get_draining_nodes(self, timeout):
        return {node["NodeID"]: 0 for node in ray.nodes()}


backend = RayBackend(None, None, "auto")
said = {"devices": backend.devices}
for number in range(4):
    submit(f"stage-{number}", 3)
outcomes = [outcome for _, outcome in ended(4)]
assert all(getattr(outcome, "status", "lost") == "done" for outcome in outcomes), outcomes
said["status"] = sorted(outcome.status for outcome in outcomes)
said["beside"] = sorted(outcome.machine["stages_beside"] for outcome in outcomes)
logs = [(root / f"stage-{number}" / "log.txt").read_text() for number in range(4)]
said["processes"] = len({log.split("pid ")[1].split()[0] for log in logs})

submit("victim", 10_000)
while not (root / "victim" / "progress.json").exists():
    time.sleep(0.1)
os.kill(int((root / "victim" / "log.txt").read_text().split("pid ")[1].split()[0]), signal.SIGKILL)
((name, lost),) = ended(1)
said["lost"] = [name, isinstance(lost, Lost), lost.message]
submit("after-1", 1)
submit("after-2", 1)
said["after"] = sorted(outcome.status for _, outcome in ended(2))

for number in range(4):
    submit(f"beside-{number}", 10_000)
while len(list(root.glob("beside-*/progress.json"))) < 4:
    time.sleep(0.1)
((first, *_),) = [sent.group for sent in backend._sent.values() if sent.group[0].job.name == "beside-0"]
backend.end(first)
said["ended"] = {name: lost.how for name, lost in ended(2)}
(root / "stop").touch()
ended(2)
backend.close()

backend = RayBackend(None, None, "auto", scale_to=2)
while not backend.devices:
    backend.wait(1)
backend._gcs = Notices()
backend.draining()
said["devices_that_stay"] = backend.devices
backend.close()
print(json.dumps(said))
"""


UNEVEN = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(head_node_args={"num_cpus": 4, "num_gpus": 0}, initialize_head=True)
cluster.add_node(num_cpus=1, num_gpus=4)
from orchestrator.backends.base import BackendError
from orchestrator.backends.ray_tasks import RayBackend

from orchestrator.backends.ray_cluster import devices_of

print(devices_of(cluster.address, "auto"), devices_of(cluster.address, "cpu"))
try:
    RayBackend(cluster.address, None, "cuda", ranks=2)
except BackendError as error:
    print(error)
cluster.shutdown()
"""


def test_a_gpu_without_a_core_beside_it_is_none() -> None:
    done = subprocess.run([sys.executable, "-c", UNEVEN], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[0] == "1 5"  # what a plan foresees
    assert "--gpus-per-stage 2" in done.stdout
    assert "has 1 GPUs for stages" in done.stdout


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
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["devices"] == 2
    assert said["status"] == ["done"] * 4
    assert said["beside"][-1] == 1  # two on each
    assert said["processes"] == 2
    assert said["lost"][:2] == ["victim", True]
    assert "ActorDied" in said["lost"][2] or "ActorUnavailable" in said["lost"][2]
    assert said["after"] == ["done", "done"]
    assert said["ended"].pop("beside-0") == "hung"
    assert list(said["ended"].values()) == ["node"]  # no fault of the one beside it
    assert said["devices_that_stay"] == 0
