"""Serve S3 on this machine behind a proxy that fails at random: 503s, torn writes, lost answers, cut bodies."""

from __future__ import annotations

import copy
import heapq
import http.client
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

# a client without a key would ask the cloud's metadata service; nothing may leave loopback
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "of-a-benchmark",
    "AWS_SECRET_ACCESS_KEY": "no-secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DELAY_S = 0.5
NOT_FORWARDED = ("connection", "transfer-encoding", "keep-alive")


@dataclass
class Faults:
    """Faults that the proxy injects into requests.

    Attributes:
        rate: probability of each fault per request.
        counts: number of injected faults by kind.
    """

    draw: random.Random
    rate: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> str:
        """Draw the next request's fault, if any."""
        with self._lock:
            drawn = self.draw.random()
            fates = ("busy", "torn write", "lost answer", "cut body", "delay")
            fate = next((name for index, name in enumerate(fates, 1) if drawn < index * self.rate), "")
            if fate:
                self.counts[fate] = self.counts.get(fate, 0) + 1
            return fate


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of an S3 server with an empty bucket named "bucket"."""
    import boto3
    from moto.s3.models import S3Backend
    from moto.server import ThreadedMotoServer

    list_all = S3Backend.list_objects_v2

    def list_page(backend: Any, bucket: Any, prefix: str | None, delimiter: str | None, **more: Any) -> Any:
        """List what a page can show only: moto sorts all keys for each page, minutes for a bucket of 300,000."""
        if not delimiter:
            after = backend._pagination_tokens.get(more["continuation_token"]) or more["start_after"] or ""
            names = (name for name in list(bucket.keys) if name > after and name.startswith(prefix or ""))
            shown = heapq.nsmallest(more["max_keys"] + 1, names)
            bucket = copy.copy(bucket)
            bucket.keys = {name: bucket.keys[name] for name in shown}
        return list_all(backend, bucket, prefix, delimiter, **more)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no log line per request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=SETTINGS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SETTINGS["AWS_SECRET_ACCESS_KEY"],
        region_name=SETTINGS["AWS_REGION"],
    )
    client.create_bucket(Bucket="bucket")
    try:
        with patch.object(S3Backend, "list_objects_v2", list_page):
            yield address
    finally:
        server.stop()


def fill(folder: Path, prefix: str) -> None:
    """Put a folder's files under a prefix into the bucket of a running ``s3_server``, without a request for each."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for path in folder.rglob("*"):
        if path.is_file():
            backend.put_object("bucket", f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


@contextmanager
def faulty_proxy(server: str, faults: Faults) -> Iterator[str]:
    """Yield the address of a proxy before a server."""
    target = server.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fate = faults.next()
            if fate == "busy":
                self._answer(503, {"Content-Type": "application/xml"}, BUSY)
                return
            if fate == "torn write" and self.command == "PUT":  # cut in transit: S3 keeps no part of a torn upload
                self.close_connection = True
                return
            if fate == "delay":
                time.sleep(DELAY_S)
            connection = http.client.HTTPConnection(target)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content, headers = answer.read(), dict(answer.getheaders())
            connection.close()
            if fate == "lost answer":
                self.close_connection = True
                return
            self._answer(answer.status, headers, content, cut=fate == "cut body" and self.command == "GET")

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815  (the base class's names)

        def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in (*NOT_FORWARDED, "content-length"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            """Log no line per request."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
