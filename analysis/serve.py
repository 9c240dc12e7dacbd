"""``python -m analysis.serve``: the report of a store in the browser, renewed by itself while sweeps run."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
import sys
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Annotated, Any, NoReturn

import typer

from analysis.frames.published import PublishedError, read_published
from analysis.live.live_page import LivePage
from analysis.live.site import STORE, Answer, Names, Site, refusal
from orchestrator.store import Store, StoreError
from workers.terminal.console import visible

EXAMPLES = """
Examples:

  python -m analysis.serve sweeps --open

  python -m analysis.serve s3://bucket/sweeps --every 60

To look from a laptop at a store that a cluster's head sees; no port of the head has to be open:

  ssh -t -L 8700:127.0.0.1:8700 head python -m analysis.serve sweeps
"""
EVERY_S, EVERY_OF_A_BUCKET_S = 2.0, 30.0
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
CHUNK = 1 << 16
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for a site: GET and HEAD, one request per connection."""

    server: Server
    timeout = 30.0  # for a peer that says nothing, or takes no part of an answer
    server_version, sys_version = "winning-sign", ""

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host", [])
        self._send(self.server.site.answer(self.path, hosts, self.headers.get("Accept-Encoding", "")))

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: a request that is none, or another method than the two."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._send(refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered."))
        else:
            self._send(refusal(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page asks every two seconds."""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        for name, value in {**ALWAYS, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            rest = memoryview(answer.content)
            while rest:  # in parts: the timeout is for each
                self.wfile.write(rest[:CHUNK])
                rest = rest[CHUNK:]


class Server(ThreadingMixIn, TCPServer):
    """Listens; each connection has a thread of its own.

    Attributes:
        address: the IP address and the port on which it listens.

    Raises:
        OSError: it cannot listen there.
    """

    allow_reuse_address = True
    daemon_threads = True
    site: Site

    def __init__(self, host: str, port: int) -> None:
        self.address_family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__(place, Handler)  # type: ignore[arg-type]
        self.address, self.port = self.socket.getsockname()[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who goes away is no fault."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@app.command(epilog=EXAMPLES)
def serve(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The folder or URL of a sweep's store.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8700,
    host: Annotated[str, typer.Option(help="The name or address to listen on.")] = "127.0.0.1",
    every: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help=f"Seconds between two looks at the store. Default: {EVERY_S:g}, for a bucket {EVERY_OF_A_BUCKET_S:g}.",
        ),
    ] = None,
    published: Annotated[
        Path | None, typer.Option(help="Published results to draw beside: a CSV file, as for analysis.report.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show the report of a store at an address of this machine: it renews itself, with progress and events.

    The store may be one that no sweep has begun to write yet. Ctrl-C ends it. Nothing is written to the store.
    """
    try:
        if published is not None:
            read_published(published)
        storage = Store(store).storage
        every_s = every or (EVERY_S if storage.folder is not None else EVERY_OF_A_BUCKET_S)
        live = LivePage(store, lambda path: f"{STORE}/{path}", every_s, published)
        server = Server(host, port)
    except (StoreError, PublishedError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(str(error) if error.filename else _cannot_listen(error, host, port))
    server.site = Site(live, storage, Names(host, server.address))
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _end)
    live.start()
    url = f"http://{_shown(host, server.address)}:{server.port}/"
    typer.echo(f"{url}  (Ctrl-C ends it)")
    if not ipaddress.ip_address(server.address).is_loopback:
        typer.echo(
            f"Warning: whoever reaches {host}, port {server.port}, reads this store: there is no password. "
            f"Leave --host out and use ssh -L (see --help) unless all of that network may.",
            err=True,
        )
    if open_:
        webbrowser.open(url)
    server.serve_forever()


def _end(*_: object) -> None:
    """At once: KeyboardInterrupt may be lost in a callback, and the interpreter's own end aborts C++ code at work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _shown(host: str, address: str) -> str:
    if ipaddress.ip_address(address).is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _cannot_listen(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken; give another with --port, or --port 0 for any that is free"
    return f"cannot listen on {host}, port {port} ({error.strerror or error}); give another --host or --port"


def _fail(why: str) -> NoReturn:
    typer.echo(visible(f"winning-sign-serve: {why}"), err=True)
    raise typer.Exit(2)


def main() -> None:
    """The command line's entry point."""
    app()


if __name__ == "__main__":
    main()
