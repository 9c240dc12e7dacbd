"""``winning-sign serve``: shows the report of one store or several in the browser and renews it while sweeps run."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
import sys
import webbrowser
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Annotated, Any

import typer

from analysis.frames.published.reading import PublishedError, read_published
from analysis.live.live_page import LivePage
from analysis.live.site import Answer, Names, Site, link, places, refusal
from orchestrator.store import Store, StoreError
from workers.terminal.command import add_command, new_app, one_sentence
from workers.terminal.options import Published, StorePaths

EXAMPLES = """
winning-sign serve sweeps --open
winning-sign serve s3://bucket/sweeps --every 60
winning-sign serve mine theirs
ssh -t -L 8700:127.0.0.1:8700 HEAD winning-sign serve sweeps   # a cluster's store, from a laptop
"""
EVERY_S, EVERY_OF_A_BUCKET_S = 2.0, 30.0
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
CHUNK = 1 << 16
app = new_app()


class Handler(BaseHTTPRequestHandler):
    """Answer HTTP requests for a site: GET and HEAD, one request per connection."""

    server: Server
    timeout = 30.0  # for a peer that sends nothing, or reads nothing of an answer
    server_version, sys_version = "winning-sign", ""

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host", [])
        self._send(self.server.site.answer(self.path, hosts, self.headers.get("Accept-Encoding", "")))

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse an unreadable request, or a method other than GET and HEAD."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._send(refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered."))
        else:
            self._send(refusal(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a page sends a request every two seconds."""

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
            while rest:  # in parts, because the timeout holds for each part
                self.wfile.write(rest[:CHUNK])
                rest = rest[CHUNK:]


class Server(ThreadingMixIn, TCPServer):
    """Listen on an address, with one thread per connection.

    Attributes:
        address: IP address; ``port`` is the port.

    Raises:
        OSError: the address or port cannot be used.
    """

    allow_reuse_address = True
    daemon_threads = True
    site: Site

    def __init__(self, host: str, port: int) -> None:
        self.address_family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__(place, Handler)  # type: ignore[arg-type]
        self.address, self.port = self.socket.getsockname()[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a reader who closes the connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@add_command(app, EXAMPLES)
def serve(
    stores: StorePaths,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8700,
    host: Annotated[str, typer.Option(help="Name or address to listen on.")] = "127.0.0.1",
    every: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help=f"Seconds between two listings of the store. Default: {EVERY_S:g}; a bucket: {EVERY_OF_A_BUCKET_S:g}.",
        ),
    ] = None,
    published: Published = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show the report of one store or several in the browser while sweeps run.

    The page renews itself and shows progress and events. The sweep need not have begun. Nothing is written to the
    stores. A stage that several stores hold is one result. Ctrl-C ends the server. To read a cluster's store from a
    laptop, forward the port by SSH: no port of the head has to be open.
    """
    with one_sentence(StoreError, PublishedError, OSError):
        if published is not None:
            read_published(published)
        opened = list({store.root: store for store in map(Store, stores)}.values())
        in_folders = all(store.storage.folder is not None for store in opened)
        by_place = places(opened)
        live = LivePage(
            opened, partial(link, stores=by_place), every or (EVERY_S if in_folders else EVERY_OF_A_BUCKET_S), published
        )
        server = _listen(host, port)
    server.site = Site(live, {place: store.storage for place, store in by_place.items()}, Names(host, server.address))
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _end)
    live.start()
    url = f"http://{_shown(host, server.address)}:{server.port}/"
    typer.echo(f"{url}  (Ctrl-C ends it)")
    if not ipaddress.ip_address(server.address).is_loopback:
        typer.echo(
            f"Warning: there is no password: everyone who reaches {host}, port {server.port}, can read this store. "
            f"Leave --host out and use ssh -L (see --help), unless that whole network may read the store.",
            err=True,
        )
    if open_:
        webbrowser.open(url)
    server.serve_forever()


def _end(*_: object) -> None:
    """Exit at once: a callback may swallow KeyboardInterrupt, and the interpreter's exit aborts running C++ code."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _shown(host: str, address: str) -> str:
    if ipaddress.ip_address(address).is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> Server:
    try:
        return Server(host, port)
    except OSError as error:
        why = f"cannot listen on {host}, port {port} ({error.strerror or error}); give another --host or --port"
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} of {host} is taken; give another with --port, or --port 0 for any free port"
        raise OSError(why) from error


if __name__ == "__main__":
    app()
