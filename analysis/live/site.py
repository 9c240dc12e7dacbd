"""What the live page's server answers: the page, its state, and the files of the store that the page links to."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from analysis.live.live_page import LivePage
from analysis.page.escaping import visible_json
from orchestrator.store import Storage

STORE = "store"
"""The path under which the store's files are."""
HTML, JSON = "text/html; charset=utf-8", "application/json"
TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_NAME = r"[^/.\0][^/\0]*"  # of a file or folder that is neither hidden nor a way up
_LINKED = re.compile(rf"stages/{_NAME}/{_NAME}/(record\.json|attempts/[0-9]+/log\.txt|(attempts/[0-9]+/)?out/{_NAME})")


@dataclass(frozen=True)
class Answer:
    """An answer to a request.

    Attributes:
        headers: besides those that every answer has.
    """

    status: HTTPStatus
    kind: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Names:
    """The names that a server goes by. A page of a stranger's whose name leads here has another (DNS rebinding).

    Args:
        host: what the server was told to listen on.
        address: that as an IP address.
    """

    def __init__(self, host: str, address: str) -> None:
        self._names = {*LOOPBACK, host.lower(), address}
        self._any_address = ipaddress.ip_address(address).is_unspecified
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def __contains__(self, host: str) -> bool:
        """Whether a ``Host`` header is for this server; ports do not matter, since a tunnel has its own."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))

    def __str__(self) -> str:
        return ", ".join(sorted(self._names))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refusal(status: HTTPStatus, why: str) -> Answer:
    """An answer in one sentence."""
    return Answer(status, TEXT, f"{why}\n".encode(), {"Content-Security-Policy": FILE_POLICY})


class Site:
    """Answers to GET requests.

    Args:
        storage: the store's, for the files that the page links to.
    """

    def __init__(self, live: LivePage, storage: Storage, names: Names) -> None:
        self._live, self._storage, self._names = live, storage, names

    def answer(self, target: str, hosts: Iterable[str], accepted: str) -> Answer:
        """The answer to a request.

        Args:
            target: as it was sent.
            hosts: its ``Host`` headers.
            accepted: its ``Accept-Encoding`` header.
        """
        if [host in self._names for host in hosts] != [True]:
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, f"This server goes by the names {self._names} only.")
        path = target.partition("?")[0]
        if path == "/":
            return self._page("gzip" in accepted)
        if path == "/state.json":
            return Answer(HTTPStatus.OK, JSON, visible_json(json.dumps(self._live.state(), allow_nan=False)).encode())
        if path.startswith(f"/{STORE}/"):
            return self._file(unquote(path.removeprefix(f"/{STORE}/"), errors="surrogateescape"))
        return refusal(HTTPStatus.NOT_FOUND, "There is no such page here; the report is at /.")

    def _page(self, packed: bool) -> Answer:
        headers = {"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept-Encoding"}
        page = self._live.page
        if page is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, HTML, self._live.notice, headers)
        if packed:
            return Answer(HTTPStatus.OK, HTML, page.packed, {**headers, "Content-Encoding": "gzip"})
        return Answer(HTTPStatus.OK, HTML, page.content, headers)

    def _file(self, path: str) -> Answer:
        try:
            if not _LINKED.fullmatch(path) or not self._inside(path):
                raise FileNotFoundError
            content = self._storage.read(path)
        except (FileNotFoundError, PermissionError):
            return refusal(HTTPStatus.NOT_FOUND, "The page links to no such file of the store, or it is not there.")
        except OSError as error:
            return refusal(HTTPStatus.BAD_GATEWAY, str(error))
        kind = TEXT if path.endswith((".json", ".txt")) else BYTES
        return Answer(HTTPStatus.OK, kind, content, {"Content-Security-Policy": FILE_POLICY})

    def _inside(self, path: str) -> bool:
        """Whether a path leads to a file in the store's folder, also where links of the file system lead."""
        folder = self._storage.folder
        if folder is None:
            return True
        place = (folder / path).resolve()
        return place.is_relative_to(folder.resolve()) and place.is_file()
