"""The Slurm script, run with stand-ins for Slurm's commands: two nodes that are both this machine. Slow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters.heads import PLAIN_PATH, environment, sweep_command
from tests.clusters.stand_ins import ROOT, free_port, processes_of
from tests.support.small_sweeps import STAGES_OF_ONE_ROUND
from tests.support.sweep_processes import Hold, record_times, stop_files, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=20)]

SCRIPT = ROOT / "docs" / "clusters" / "sweep.slurm"
# Both nodes are this machine; a second node's Ray takes the ports that are free.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
echo "$*" >> "$SLURM_LOG"
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$SLURM_LOG"
[ "$1" != show ] || printf '%s\\n' 127.0.0.1 127.0.0.1
"""


def test_the_slurm_script_is_bash_with_the_options_it_needs() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0
    lines = SCRIPT.read_text().splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--requeue", "--signal=B:TERM@180", "--ntasks-per-node=1"} <= set(options)
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(i < first_command for i, line in enumerate(lines) if line.startswith("#SBATCH"))  # else Slurm skips them
    assert 'srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}"' in SCRIPT.read_text(
        "utf-8"
    )
    unquoted = re.compile(r'(?<!["\w$({=])\$\{?[a-zA-Z]\w*(?![^"]*")')
    assert not [line for line in lines if not line.startswith("#") and unquoted.search(line.replace("$((", ""))]


@pytest.fixture
def slurm(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An allocation's environment, and the log of the calls of Slurm's commands."""
    programs, log = tmp_path / "bin", tmp_path / "slurm.txt"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    ours = environment(
        tmp_path / "home",
        PATH=f"{programs}:{os.environ['PATH']}",
        SLURM_LOG=str(log),
        SLURM_JOB_ID="7",
        SLURM_JOB_NODELIST="node[1-2]",
        SLURM_SUBMIT_DIR=str(ROOT),
        SLURM_CPUS_PER_TASK="1",
        STORE=str(tmp_path / "sweep" / "store"),
        PYTHON=sys.executable,
        PORT=str(free_port()),
    )
    ours.pop("RAY_AUTH_TOKEN")  # the script makes one
    return ours, log


@PLAIN_PATH
@pytest.mark.long
def test_a_job_out_of_time_checkpoints_and_requeues_itself(slurm: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    environment, log = slurm
    store = tmp_path / "sweep" / "store"
    hold = Hold.at(tmp_path / "held", store, records=2)
    arguments = sweep_command(tmp_path / "sweep", "--plugin", hold.plugin)[3:]
    printed = tmp_path / "printed.txt"
    with printed.open("wb") as output:
        script = subprocess.Popen(
            ["bash", str(SCRIPT), *arguments], env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_for(hold.is_held, script, printed)
            script.send_signal(signal.SIGTERM)  # Slurm, three minutes before the end
            wait_for(lambda: bool(stop_files(store)), script, printed)
            hold.let_go()
            assert script.wait(timeout=90) == 130, printed.read_text()
            left = [
                pid
                for pid in processes_of(tmp_path / "home")
                if "ray.scripts.scripts start" in name_of(pid) or "gcs" in name_of(pid)
            ]
            assert not left
        finally:
            for pid in processes_of(tmp_path / "home"):
                os.kill(pid, signal.SIGKILL)
    said = log.read_text()
    assert said.count("start --block") == 2
    assert said.count("--head") == 1
    assert said.splitlines()[-1] == "scontrol requeue 7"
    assert 2 <= len(record_times(store)) < STAGES_OF_ONE_ROUND


def name_of(pid: int) -> str:
    """How a process calls itself."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:  # ended meanwhile
        return ""
