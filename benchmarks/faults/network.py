"""Run a Ray cluster on two machines with separate networks and a cable that can be pulled.

Each machine is a network namespace without a way out of this machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.cluster import FAST
from benchmarks.faults.processes import Surroundings, TrialError
from benchmarks.faults.trial import Trial

HEAD, NODE, PORT = "10.77.0.1", "10.77.0.2", 6399
STARTS_WITHIN_S = 120.0
TOOLS = ("unshare", "nsenter", "ip")


@dataclass(frozen=True)
class Machine:
    """A network namespace that lasts as long as one process.

    Attributes:
        address: address in that network.
        pid: process that holds the network.
    """

    address: str
    pid: int

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs a command in this network."""
        return ["nsenter", "--target", str(self.pid), "--user", "--net", "--preserve-credentials", *words]

    def run(self, *lines: str) -> None:
        """Run shell lines in this network."""
        subprocess.run(self.command("sh", "-ec", "\n".join(lines)), check=True, capture_output=True)


@dataclass(frozen=True)
class Pair:
    """A head and a second node, of one core each."""

    head: Machine
    node: Machine

    @property
    def address(self) -> str:
        """Address for drivers on the head."""
        return f"{HEAD}:{PORT}"

    def pull_cable(self) -> None:
        """Drop all packets between the machines silently."""
        self.head.run("ip link set cable down")

    def put_cable_back(self) -> None:
        """Connect the machines again."""
        self.head.run("ip link set cable up", _route(self.head, self.node))


@contextmanager
def networks() -> Iterator[tuple[Machine, Machine]]:
    """Create two machines and a cable between them.

    Raises:
        OSError, subprocess.CalledProcessError: this machine does not allow namespaces, or lacks a tool.
    """
    with ExitStack() as stack:
        head = Machine(HEAD, stack.enter_context(_kept("unshare", "--user", "--map-root-user", "--net")))
        node = Machine(NODE, stack.enter_context(_kept(*head.command("unshare", "--net"))))
        head.run(f"ip link add cable type veth peer name cable netns {node.pid}")
        for machine, other in ((head, node), (node, head)):
            # an address apart from the cable: a machine reaches itself without the cable
            own = [f"ip address add {machine.address}/32 dev lo", "ip link set lo up", "ip link set cable up"]
            machine.run(*own, _route(machine, other))
        yield head, node


def _route(machine: Machine, other: Machine) -> str:
    return f"ip route replace {other.address} dev cable src {machine.address}"


@contextmanager
def _kept(*command: str) -> Iterator[int]:
    """Start an idle process with this command; return its pid once it runs."""
    process = subprocess.Popen(
        [*command, "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise subprocess.CalledProcessError(process.wait(), command)
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Start Ray on two such machines; they log into a folder."""
    with networks() as (head, node), ExitStack() as stack:
        # a short path, since it holds sockets
        files = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True))
        begin = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={files}"]
        stack.enter_context(_ray(head, folder, *begin, f"--system-config={json.dumps(FAST)}"))
        stack.enter_context(_ray(node, folder, f"--address={HEAD}:{PORT}"))
        yield Pair(head, node)


@contextmanager
def _ray(machine: Machine, folder: Path, *options: str) -> Iterator[None]:
    log = folder / f"ray-{machine.address}.txt"
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
    node_options = [f"--node-ip-address={machine.address}", "--object-store-memory=100000000"]
    with log.open("wb") as output:
        process = subprocess.Popen(machine.command(*start, *node_options, *options), stdout=output, stderr=output)
    try:
        began = time.monotonic()
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() - began > STARTS_WITHIN_S:
                raise TrialError(f"Ray does not start on {machine.address}:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def network(trial: Trial) -> None:
    """Cut off the second node with its running stages; reconnect it later in some trials."""
    with pair(trial.place.folder) as machines:
        sweep = trial.start("--address", machines.address, within=Surroundings(network=machines.head.pid))
        if sweep.reaches(trial.moment(), trial.place):
            machines.pull_cable()
            trial.injected += 1
            trial.kills += 1
            trial.unaware += 1
            if trial.draw.random() < 0.5:
                time.sleep(trial.draw.uniform(0.5, 8))
                machines.put_cable_back()
        trial.finish(sweep)


def can_pair() -> bool:
    """Return whether this machine allows network namespaces."""
    try:
        with networks():
            return all(shutil.which(tool) for tool in TOOLS)
    except (OSError, subprocess.CalledProcessError):
        return False
