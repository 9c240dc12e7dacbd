"""Ray heads on loopback, with tiny sweeps to run on them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clusters.stand_ins import ROOT, free_port

PATTERNS = '''
"""200 training and 60 test images; one training waits for as long as a file named `hold` lies here."""

import time
from pathlib import Path

import numpy as np

from workers.data import Arrays, Source, data_set
from workers.models import ARCHITECTURES, architecture

HOLD = Path(__file__).with_name("hold")
build = ARCHITECTURES["resnet1d"].build


@data_set("patterns", channels=1, num_classes=3)
def find(data_root, downloads):
    def decode():
        stream = np.random.default_rng(0)
        patterns = stream.integers(0, 256, (3, 1, 8, 8))
        labels = stream.integers(0, 3, 260)
        images = (patterns[labels] * 0.5 + stream.integers(0, 128, (260, 1, 8, 8))).astype(np.uint8)
        return Arrays(images[:200], labels[:200], images[200:], labels[200:])

    return Source("made by a test", "patterns-1", decode)


@architecture("resnet1d")
def held(in_channels, num_classes, **options):
    if HOLD.exists() and len(list(Path(HOLD.read_text()).glob("stages/*/*/record.json"))) >= 2:
        HOLD.with_name("held").touch()
        while HOLD.exists():
            time.sleep(0.05)
    return build(in_channels, num_classes, **options)
'''
SMALL = """
model: {width: 4}
batch_size: 32
pretrain_epochs: 1
round_epochs: 1
final_epochs: 1
final_schedule: {name: constant}
rounds: 1
probe_points: 3
methods: [aws]
transfers: [signed]
seeds: 1
chains: 1
"""
STAGES = 8  # dense, pretrain, round, retrain, transfer, twin, LMC probe, stability probe


def small_sweep(folder: Path) -> list[str]:
    """The command of a sweep of eight stages, which take a second each; its files lie in the folder, its store too."""
    folder.mkdir(exist_ok=True)
    (folder / "patterns.py").write_text(PATTERNS)
    (folder / "small.yaml").write_text(SMALL)
    what = ["--datasets", "patterns", "--archs", "resnet1d", "--recipe", str(folder / "small.yaml")]
    where = ["--store", str(folder / "store"), "--data-cache", str(folder / "cache")]
    plugin = ["--plugin", str(folder / "patterns.py")]
    return [sys.executable, "-m", "orchestrator.sweep", *what, *where, *plugin]


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of a process that knows of no other Ray, with a token of its own."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    ours = {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1"}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**kept, **ours, **token, "RAY_USAGE_STATS_ENABLED": "0", **more}


@contextmanager
def head(environment: dict[str, str], log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``ray start --head --block``; afterwards it is asked to end, with all that it started."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    own = {**environment, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    own_ports = [f"--dashboard-agent-listen-port={free_port()}"]  # of several heads on a machine, one has the default
    memory = ["--object-store-memory=100000000", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *memory, *own_ports, *arguments],
            cwd=ROOT,
            env=own,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(lambda: b"Ray runtime started" in log.read_bytes(), process, log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, timeout_s: float = 100
) -> None:
    """Until it holds; an error when the process has ended without it, or time is up."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None or condition(), log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)


def record_times(store: Path) -> dict[str, int]:
    """When each record was written, in ns, by its folder."""
    return {path.parent.name: path.stat().st_mtime_ns for path in store.glob("stages/*/*/record.json")}
