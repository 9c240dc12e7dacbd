"""Commands of ``winning-sign tickets`` as forks of one process that has imported torch, but not yet huggingface_hub.

So each command reads its own environment when it imports huggingface_hub, and takes no seconds to start. No process
here may leave loopback (``loopback_only/sitecustomize.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tickets
from winning_sign import HOME

LOAD = "load"
"""Stands for ``tickets.load`` of a place: prints the key of the ticket's stage, or the error."""
SWEEP = "sweep"
"""Stands for ``winning-sign sweep``; other words are of ``winning-sign tickets``."""


class Commands:
    """Runs one command after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, words: list[str], home: Path, environment: Mapping[str, str], stdin: str = os.devnull
    ) -> tuple[int, str, str]:
        """Run a command at a home; return its exit code, stdout and stderr."""
        home.mkdir(exist_ok=True)
        left, out, errors = (home / name for name in ("left-loopback", "out", "errors"))
        settings = {"HOME": str(home), "HF_HOME": str(home / "hf"), "LEFT_LOOPBACK": str(left), **environment}
        asked = {"words": words, "cwd": str(home), "environment": settings, "files": [stdin, str(out), str(errors)]}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert not left.exists(), left.read_text()
        assert "Traceback" not in errors.read_text(), errors.read_text()
        return code, out.read_text(), errors.read_text()


@contextmanager
def forked_commands() -> Iterator[Commands]:
    """Start the process that commands are forks of."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    paths = [str(HOME / "tests" / "support" / "hubs" / "loopback_only"), str(HOME)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hubs.forked_commands"],
        env={**inherited, "PYTHONPATH": os.pathsep.join(paths), "NO_PROXY": "*", "COLUMNS": "300"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Commands(process)
    finally:
        process.communicate()


def _become(asked: dict[str, Any]) -> None:
    """Be one command; never returns."""
    code = 70
    try:
        os.environ.update(asked["environment"])
        os.chdir(asked["cwd"])
        for number, path in enumerate(asked["files"]):
            os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        first, *rest = asked["words"]
        if first == SWEEP:
            from orchestrator.sweep import app

            app(rest)
        if first == LOAD:
            try:
                print(tickets.load(*rest).provenance.stage_key)
            except tickets.TicketError as error:
                print(error)
            code = 0
        else:
            from tickets.__main__ import app

            app([first, *rest], prog_name="winning-sign tickets")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Read what to run from stdin, line by line; write each exit code."""
    import tickets.__main__  # noqa: F401  (with torch, which every fork then has)

    assert "huggingface_hub" not in sys.modules
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
