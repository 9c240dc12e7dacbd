"""As much of Google Cloud Storage's XML API as a store needs, on loopback: conditional creation, ranges, pages, parts.

Its answers are those of the service's documentation, and it keeps what is in one bucket in memory.
"""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from itertools import count
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
TOKEN = "planted-token"
PAGE = 7  # the service's is a thousand


@dataclass(frozen=True)
class Kept:
    """An object."""

    content: bytes
    generation: int
    modified_unix_s: float

    @property
    def headers(self) -> dict[str, str]:
        return {
            "ETag": f'"{hashlib.md5(self.content).hexdigest()}"',
            "x-goog-generation": str(self.generation),
            "Last-Modified": formatdate(self.modified_unix_s, usegmt=True),
        }


class GoogleStorage(http.server.ThreadingHTTPServer):
    """The service, with one bucket.

    Attributes:
        fates: of the next requests, in order: a status to refuse it with, "lost": done, but not answered, or "cut":
            half of the content. None lets one pass.
        asked: method and path of every request.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.objects: dict[str, Kept] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.fates: list[int | str | None] = []
        self.asked: list[str] = []
        self.lock = threading.Lock()
        self._numbers = count(1)

    def keep(self, name: str, content: bytes) -> Kept:
        """Write or replace an object; the lock is held."""
        self.objects[name] = Kept(content, next(self._numbers), time.time())
        return self.objects[name]

    def begin_upload(self) -> str:
        """The id of an upload in parts."""
        upload = f"upload-{next(self._numbers)}"
        self.uploads[upload] = {}
        return upload


class Answers(http.server.BaseHTTPRequestHandler):
    server: GoogleStorage
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self.server.lock:
            self.server.asked.append(f"{self.command} {self.path}")
            self.fate = self.server.fates.pop(0) if self.server.fates else None
            if isinstance(self.fate, int):
                self.refuse(self.fate, "SlowDown" if self.fate == 429 else "InternalError")
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.refuse(401, "AuthenticationRequired")
            elif bucket != BUCKET:
                self.refuse(404, "NoSuchBucket")
            elif not name:
                self.list(query)
            else:
                {"GET": self.get, "PUT": self.put, "POST": self.post, "DELETE": self.delete}[self.command](
                    name, query, body
                )

    do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815  (the base class's names)

    def list(self, query: Mapping[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", query.get("start-after", ""))
        names = sorted(name for name in self.server.objects if name.startswith(prefix) and name > after)
        more = len(names) > PAGE
        page = [(name, self.server.objects[name]) for name in names[:PAGE]]
        token = f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>" if more else ""
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Generation>{kept.generation}</Generation>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(kept.modified_unix_s))}</LastModified>"
            f"<ETag>{escape(kept.headers['ETag'])}</ETag><Size>{len(kept.content)}</Size></Contents>"
            for name, kept in page
        )
        head = f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>{str(more).lower()}</IsTruncated>"
        self.answer_xml(f"<ListBucketResult>{head}{token}{entries}</ListBucketResult>")

    def get(self, name: str, asked: Mapping[str, str], body: bytes) -> None:
        kept = self.server.objects.get(name)
        if kept is None:
            self.refuse(404, "NoSuchKey")
        elif self.headers.get("If-Match", kept.headers["ETag"]) != kept.headers["ETag"]:
            self.refuse(412, "PreconditionFailed")
        elif wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1 if last else len(kept.content), len(kept.content))
            place = {"Content-Range": f"bytes {first}-{end - 1}/{len(kept.content)}"}
            self.answer(206, {**kept.headers, **place}, kept.content[int(first) : end])
        else:
            self.answer(200, kept.headers, kept.content)

    def put(self, name: str, asked: Mapping[str, str], body: bytes) -> None:
        if upload := asked.get("uploadId"):
            if upload not in self.server.uploads:
                self.refuse(404, "NoSuchUpload")
                return
            self.server.uploads[upload][int(asked["partNumber"])] = body
            self.answer(200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        elif not self.generation_matches(name):
            self.refuse(412, "PreconditionFailed")
        elif source := self.headers.get("x-goog-copy-source"):
            kept = self.server.objects.get(unquote(source).partition("/")[2])
            if kept is None:
                self.refuse(404, "NoSuchKey")
                return
            made = self.server.keep(name, kept.content)
            self.answer_xml(
                f"<CopyObjectResult><ETag>{escape(made.headers['ETag'])}</ETag></CopyObjectResult>", made.headers
            )
        else:
            self.answer(200, self.server.keep(name, body).headers)

    def post(self, name: str, asked: Mapping[str, str], body: bytes) -> None:
        if upload := asked.get("uploadId"):
            parts = self.server.uploads.pop(upload, None)
            if parts is None:  # completed already, or given up
                self.refuse(404, "NoSuchUpload")
                return
            kept = self.server.keep(name, b"".join(parts[number] for number in sorted(parts)))
            etag = escape(kept.headers["ETag"])
            self.answer_xml(
                f"<CompleteMultipartUploadResult><Location>{self.server.url}/{BUCKET}/{quote(name)}</Location>"
                f"<Bucket>{BUCKET}</Bucket><Key>{escape(name)}</Key><ETag>{etag}</ETag></CompleteMultipartUploadResult>",
                kept.headers,
            )
        else:
            upload = self.server.begin_upload()
            self.answer_xml(
                f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(name)}</Key>"
                f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )

    def delete(self, name: str, asked: Mapping[str, str], body: bytes) -> None:
        if upload := asked.get("uploadId"):
            self.server.uploads.pop(upload, None)
            self.answer(204)
        elif self.server.objects.pop(name, None) is None:
            self.refuse(404, "NoSuchKey")
        else:
            self.answer(204)

    def generation_matches(self, name: str) -> bool:
        """Whether the object is the one that the request names; 0 means that there is none."""
        wanted, kept = self.headers.get("x-goog-if-generation-match"), self.server.objects.get(name)
        return wanted is None or int(wanted) == (kept.generation if kept else 0)

    def refuse(self, status: int, code: str) -> None:
        message = f"<Error><Code>{code}</Code><Message>{code}, says the service.</Message></Error>"
        self.answer_xml(message, status=status)

    def answer_xml(self, text: str, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        content = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
        self.answer(status, {**(headers or {}), "Content-Type": "application/xml; charset=UTF-8"}, content)

    def answer(self, status: int, headers: Mapping[str, str] | None = None, content: bytes = b"") -> None:
        if self.fate == "lost":
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = self.fate == "cut"
        self.close_connection |= cut
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def google_storage() -> Iterator[GoogleStorage]:
    """A service that answers, until it is left."""
    server = GoogleStorage()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def settings(server: GoogleStorage) -> dict[str, str]:
    """The environment in which ``gs://`` is this service. The token keeps clients from asking a machine's metadata."""
    return {"GOOGLE_BASE_URL": server.url, "GOOGLE_BEARER_TOKEN": TOKEN}
