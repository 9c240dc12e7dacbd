"""``ssh`` and ``rsync`` that reach no other machine, and an environment in which nothing else is found.

A mock of EC2 invents public addresses, and `ray up` goes there by ssh. So every test that runs `ray up` gets these two
programs first in PATH, proves it, and only then starts Ray.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Writes down what it was asked. With STAND_IN_RUNS=1 also runs it here, but never what ends every Ray of a machine.
SSH = """
import json, os, sys
rest, takes_a_value = sys.argv[1:], ("-o", "-i", "-L", "-p", "-l")
while rest and rest[0].startswith("-"):
    rest = rest[2:] if rest[0] in takes_a_value else rest[1:]
host, command = rest[0], " ".join(rest[1:])
with open(os.environ["STAND_IN_LOG"], "a") as log:
    log.write(json.dumps(["ssh", host, command]) + "\\n")
if os.environ.get("STAND_IN_RUNS") == "1" and "ray stop" not in command:
    os.execv("/bin/bash", ["bash", "-c", command])
"""
RSYNC = """
import json, os, shutil, sys
from pathlib import Path
source, target = sys.argv[-2:]
with open(os.environ["STAND_IN_LOG"], "a") as log:
    log.write(json.dumps(["rsync", source, target]) + "\\n")
if os.environ.get("STAND_IN_RUNS") == "1":
    here = Path(target.partition(":")[2].replace("~", os.environ["HOME"], 1))
    here.parent.mkdir(parents=True, exist_ok=True)
    if os.path.isdir(source):
        shutil.copytree(source, here, dirs_exist_ok=True)
    elif not (here.exists() and here.samefile(source)):
        shutil.copy(source, here)
"""


@dataclass(frozen=True)
class StandIns:
    """A home, an environment and a log of the commands meant for other machines."""

    home: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, folder: Path, runs: bool = False, **more: str) -> StandIns:
        """Make the programs.

        Args:
            folder: an empty one.
            runs: whether remote commands are run here, which only provider `local` with its own commands may do.
            more: further variables of the environment.
        """
        programs, home = folder / "bin", folder / "home"
        programs.mkdir(parents=True)
        home.mkdir()
        for name, text in (("ssh", SSH), ("rsync", RSYNC)):
            (folder / f"{name}.py").write_text(text)
            command = shlex.join([sys.executable, str(folder / f"{name}.py")])  # "#!" takes no path with a space
            (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (programs / name).chmod(0o755)
        (home / ".bashrc").write_text("")
        environment = {
            "HOME": str(home),
            "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "PYTHONPATH": str(ROOT),
            "STAND_IN_LOG": str(folder / "log.jsonl"),
            "STAND_IN_RUNS": "1" if runs else "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "LC_ALL": "C.UTF-8",
            "NO_PROXY": "*",
            **more,
        }
        return cls(home, environment)

    def prove(self) -> None:
        """Nothing that a program of this environment calls ssh or rsync leaves this machine.

        Each is called as others call it: a program in PATH that cannot be run is passed over for the next of its name.
        """
        log = self.home / "proof.jsonl"
        harmless = {**self.environment, "STAND_IN_LOG": str(log), "STAND_IN_RUNS": "0"}
        for name, arguments in (("ssh", ("-V", "nobody", "nothing")), ("rsync", ("nothing", "nowhere"))):
            log.unlink(missing_ok=True)
            subprocess.run([name, *arguments], env=harmless, stdin=subprocess.DEVNULL, check=True)
            assert json.loads(log.read_text()) == [name, *arguments[-2:]]
        endpoint = self.environment.get("AWS_ENDPOINT_URL")
        assert endpoint is None or endpoint.startswith("http://127.0.0.1:"), endpoint

    def ray(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run Ray's command line to its end, from the project's root."""
        self.prove()
        return subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def asked(self, program: str) -> list[tuple[str, str]]:
        """(host, command) of each call of ssh, or (source, target) of rsync."""
        log = Path(self.environment["STAND_IN_LOG"])
        entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [(one, two) for name, one, two in entries if name == program]


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def processes_of(home: Path) -> list[int]:
    """List the processes whose HOME is this folder, which no other process uses."""
    wanted = f"HOME={home}".encode()
    pids = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                pids.append(int(path.parent.name))
        except OSError:  # ended meanwhile, or not ours
            continue
    return pids
