"""For processes that tests start: no socket leaves loopback, and what tried to is written to $LEFT_LOOPBACK."""

import os
import sys
from pathlib import Path


def _watch(event, arguments):
    host = None
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    if host is not None and str(host) not in ("127.0.0.1", "::1", "localhost"):
        with Path(os.environ["LEFT_LOOPBACK"]).open("a") as file:
            file.write(f"{event} {host}\n")
        raise ConnectionRefusedError(f"{host} is not loopback")


sys.addaudithook(_watch)
