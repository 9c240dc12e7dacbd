"""Ray's real autoscaler brings fake machines for a sweep, and ends them after: a GPU, 0 -> 1 -> 0; a gang's. Slow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE

from tests.clusters.heads import PLAIN_PATH, environment, head, sweep_command
from tests.clusters.stand_ins import ROOT, free_port
from tests.support.small_sweeps import STAGES_OF_ONE_ROUND
from tests.support.sweep_processes import record_times

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=90)]

# Prints how many GPU nodes are alive, whenever that changes.
WATCH = """
import sys, time, ray

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
seen = None
while True:
    now = sum(node["Alive"] and node["Resources"].get("GPU", 0) > 0 for node in ray.nodes())
    if now != seen:
        print(now, flush=True)
        seen = now
    time.sleep(0.2)
"""


@contextmanager
def scaling(
    folder: Path, provider: dict[str, Any] | None = None, **machine: Any
) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a head that starts such machines, cluster.yaml's but for what is given, and its environment."""
    port = free_port()
    ours = environment(
        folder / "home",
        AUTOSCALER_UPDATE_INTERVAL_S="1",
        RAY_FAKE_CLUSTER="1",
        RAY_enable_autoscaler_v2="1",
        RAY_CLOUD_INSTANCE_ID=FAKE_HEAD_NODE_ID,
        RAY_NODE_TYPE_NAME=FAKE_HEAD_NODE_TYPE,
        RAY_OVERRIDE_NODE_ID_FOR_TESTING=FAKE_HEAD_NODE_ID,
    )
    (folder / "autoscaling.json").write_text(json.dumps(on_fake_machines(port, machine, provider or {})))
    start = ["--num-cpus=0", f"--port={port}", f"--autoscaling-config={folder / 'autoscaling.json'}"]
    with head(ours, folder / "head.txt", *start, "--include-dashboard=false"):
        yield f"127.0.0.1:{port}", {name: value for name, value in ours.items() if value != FAKE_HEAD_NODE_ID}


@PLAIN_PATH
@pytest.mark.long
def test_a_sweep_scales_from_zero_gpus_to_one_and_back(tmp_path: Path) -> None:
    with scaling(tmp_path) as (address, own):
        watch = subprocess.Popen([sys.executable, "-c", WATCH, address], env=own, stdout=subprocess.PIPE, text=True)
        try:
            assert next_count(watch) == 0
            refused = sweep(sweep_command(tmp_path / "sweep"), own, "--address", address)
            assert refused.returncode == 2
            assert "--scale-to" in refused.stderr
            done = sweep(sweep_command(tmp_path / "sweep"), own, "--address", address, "--scale-to", "1")
            assert done.returncode == 0, done.stdout + done.stderr
            assert len(record_times(tmp_path / "sweep" / "store")) == STAGES_OF_ONE_ROUND
            assert next_count(watch) == 1
            assert next_count(watch) == 0  # idle for as long as the file says, then gone
        finally:
            watch.kill()
            watch.communicate()


@PLAIN_PATH
@pytest.mark.long
def test_a_gang_scales_up_its_machines_and_an_impossible_gang_is_refused(tmp_path: Path) -> None:
    """On machines of one core each, of which there may be two."""
    with scaling(tmp_path, resources={"CPU": 1}, max_workers=2) as (address, own):
        command = [*sweep_command(tmp_path / "sweep"), "--address", address]
        refused = sweep(command, own, "--scale-to", "1")
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert "--scale-to 1: the autoscaler's machine types" in refused.stderr
        assert "no machine with a GPU and a CPU" in refused.stderr
        command += ["--device", "cpu"]
        refused = sweep(command, own, "--gpus-per-stage", "4", "--scale-to", "4")
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert "--gpus-per-stage 4: the autoscaler's machine types and max_workers" in refused.stderr
        done = sweep(command, own, "--gpus-per-stage", "2", "--scale-to", "2")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(record_times(tmp_path / "sweep" / "store")) == STAGES_OF_ONE_ROUND


@PLAIN_PATH
@pytest.mark.long
def test_a_shortage_of_the_first_type_starts_an_alternative(tmp_path: Path) -> None:
    """Ray's autoscaler alone requests the first type without end."""
    module = "tests.support.short_cloud.ShortCloudWithAlternatives"
    short = {"module": module, "alternatives": {"gpu": [{"scarce": False}]}}
    with scaling(tmp_path, provider=short, node_config={"scarce": True}) as (address, own):
        done = sweep(sweep_command(tmp_path / "sweep"), own, "--address", address, "--scale-to", "1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(record_times(tmp_path / "sweep" / "store")) == STAGES_OF_ONE_ROUND


def on_fake_machines(port: int, machine: dict[str, Any], provider: dict[str, Any]) -> dict[str, object]:
    """cluster.yaml's scaling, on machines that are processes of this one, with less patience."""
    ours = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    gpu = ours["available_node_types"]["gpu"]
    return {
        **{name: ours[name] for name in ("max_workers", "upscaling_speed")},
        "cluster_name": "fake",
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": f"127.0.0.1:{port}",
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": FAKE_HEAD_NODE_ID,
            **provider,
        },
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {
                "resources": ours["available_node_types"]["head"]["resources"],
                "node_config": {},
                "max_workers": 0,
            },
            "gpu": {
                **{name: gpu[name] for name in ("min_workers", "max_workers", "resources")},
                "node_config": {},
                **machine,
            },
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in ("initialization_commands", "setup_commands", "cluster_synced_files")},
        **{name: [] for name in ("head_setup_commands", "worker_setup_commands", "rsync_exclude", "rsync_filter")},
        **{name: [] for name in ("head_start_ray_commands", "worker_start_ray_commands")},
        "file_mounts_sync_continuously": False,
    }


def next_count(watch: subprocess.Popen[str]) -> int:
    """What it prints next; Ray prints warnings between."""
    assert watch.stdout is not None
    return int(next(line for line in watch.stdout if line.strip().isdigit()))


def sweep(command: list[str], environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
