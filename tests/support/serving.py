"""A live page's server as a process of its own, on a free port of loopback."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Served:
    """A running server.

    Attributes:
        url: the address that it printed.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.line = process.stdout.readline()
        self.url = self.line.split()[0]
        self.port = urlsplit(self.url).port

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """One request, its target sent as it is; ``Host`` is right unless it is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 0, timeout=PATIENCE_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": f"127.0.0.1:{self.port}", **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def state(self) -> Any:
        return json.loads(self.ask("/state.json").body)

    def settled(self) -> Any:
        """The state once the page shows the store with its tickets, and nothing is being made."""
        first = self.until(lambda state: state["version"])["version"]
        return self.until(lambda state: state["version"] != first)

    def until(self, fits: Callable[[Any], object]) -> Any:
        """The first state that fits."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not fits(state := self.state()):
            assert time.monotonic() < give_up_s, state
            time.sleep(0.05)
        return state

    def interrupt(self) -> tuple[int, str]:
        """Send Ctrl-C; return the exit code and the output since."""
        self.process.send_signal(signal.SIGINT)
        output, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, output + errors


def command(store: Path | str, *options: str) -> list[str]:
    """The server's command line."""
    return [sys.executable, "-m", "analysis.serve", str(store), *options]


@contextmanager
def serving(store: Path, cache: Path, *options: str) -> Iterator[Served]:
    """A server of a store, with a cache of its own."""
    process = subprocess.Popen(
        command(store, "--port", "0", "--every", "0.1", *options),
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
