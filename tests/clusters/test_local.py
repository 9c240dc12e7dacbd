"""Provider `local`: `ray up docs/clusters/local.yaml` really starts a head, through a stand-in for ssh. Slow."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.clusters.stand_ins import ROOT, StandIns, free_port, processes_of

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=30)]


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[StandIns]:
    """Stand-ins that run the commands in a home of their own; all its processes are ended afterwards."""
    machine = StandIns.at(tmp_path / "machine", runs=True, RAY_AUTH_MODE="token", AUTOSCALER_NODE_SSH_INTERVAL_S="1")
    yield machine
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes_of(machine.home):
            os.kill(pid, sign)
        for _ in range(50):
            if not processes_of(machine.home):
                return
            time.sleep(0.1)


def test_ray_up_starts_a_head_on_the_users_machine(stand_ins: StandIns, tmp_path: Path) -> None:
    port = free_port()
    config = yaml.safe_load((ROOT / "docs" / "clusters" / "local.yaml").read_text())
    name = f"test-{os.getpid()}"  # Ray keeps the state of such a cluster in a file of that name
    config |= {"cluster_name": name, "min_workers": 0, "max_workers": 0}
    config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
    config["auth"] = {"ssh_user": "nobody"}
    # no pip: this machine has it all
    venv = "~/winning-sign/venv/bin"
    config["setup_commands"] = [config["setup_commands"][0], f"mkdir -p {venv}; ln -sf {tmp_path}/ray {venv}/ray"]
    (tmp_path / "ray").write_text(f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -m ray.scripts.scripts "$@"\n')
    (tmp_path / "ray").chmod(0o755)
    (start,) = config["head_start_ray_commands"]
    here = f"--port={port} --num-cpus=1 --node-ip-address=127.0.0.1 --include-dashboard=false"
    config["head_start_ray_commands"] = [start.replace("--port=6379", here)]
    assert here in config["head_start_ray_commands"][0]
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(config))

    assert stand_ins.ray("get-auth-token", "--generate").returncode == 0
    try:
        done = stand_ins.ray("up", "-y", "--no-config-cache", str(tmp_path / "local.yaml"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert {host for host, _ in stand_ins.asked("ssh")} == {"nobody@127.0.0.1"}
        assert (stand_ins.home / "winning-sign" / "orchestrator" / "sweep.py").exists()
        assert not any("ray stop" in command for _, command in stand_ins.asked("ssh"))
        status = stand_ins.ray("status", "--address", f"127.0.0.1:{port}")
        assert "0.0/1.0 CPU" in status.stdout, status.stdout + status.stderr
    finally:
        for kind in ("state", "lock"):
            Path(f"/tmp/ray/cluster-{name}.{kind}").unlink(missing_ok=True)
