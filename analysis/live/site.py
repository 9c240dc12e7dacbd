"""Answers of the live page's server: the page, its state, and the store's files that the page links to."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from analysis.live.live_page import LivePage
from analysis.page.escaping import visible_json
from orchestrator.store import Storage, Store

STORE = "store"
"""Path of a store's files; of several stores, each has a number after it."""
HTML, JSON = "text/html; charset=utf-8", "application/json"
TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_NAME = r"[^/.\0][^/\0]*"  # a file or folder, neither hidden nor a parent
_LINKED = re.compile(rf"stages/{_NAME}/{_NAME}/(record\.json|attempts/[0-9]+/log\.txt|(attempts/[0-9]+/)?out/{_NAME})")


@dataclass(frozen=True)
class Answer:
    """An answer to a request; ``headers`` are in addition to those of every answer."""

    status: HTTPStatus
    kind: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Names:
    """The host names that a server answers to; other names are refused, which stops DNS rebinding.

    Args:
        host: the name or address that the server listens on.
        address: the same as an IP address.
    """

    def __init__(self, host: str, address: str) -> None:
        self._names = {*LOOPBACK, host.lower(), address}
        self._any_address = ipaddress.ip_address(address).is_unspecified
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def __contains__(self, host: str) -> bool:
        """Whether a ``Host`` header names this server; ports do not matter, since a tunnel has its own port."""
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


def refusal(status: HTTPStatus, sentence: str) -> Answer:
    """Return an answer in one sentence."""
    return Answer(status, TEXT, f"{sentence}\n".encode(), {"Content-Security-Policy": FILE_POLICY})


def places(stores: Sequence[Store]) -> dict[str, Store]:
    """Give each store a path on the site."""
    if len(stores) == 1:
        return {STORE: stores[0]}
    return {f"{STORE}/{number}": store for number, store in enumerate(stores, start=1)}


def link(path: str, stores: Mapping[str, Store]) -> str:
    """Return the address of a store's file.

    Args:
        path: in the store; of several stores, it begins with its store's root.
        stores: by their path on the site: see ``places``.
    """
    if len(stores) == 1:
        return f"{STORE}/{path}"
    roots = {store.root: place for place, store in stores.items() if path.startswith(f"{store.root}/")}
    root = max(roots, key=len)  # a store may lie in a folder of another one
    return f"{roots[root]}{path.removeprefix(root)}"


class Site:
    """Answers to GET requests.

    Args:
        storages: hold the files that the page links to, by their path on this site.
    """

    def __init__(self, live: LivePage, storages: Mapping[str, Storage], names: Names) -> None:
        self._live, self._storages, self._names = live, storages, names

    def answer(self, target: str, hosts: Iterable[str], accepted: str) -> Answer:
        """Answer a request.

        Args:
            target: the request's path.
            hosts: its ``Host`` headers.
            accepted: its ``Accept-Encoding`` header.
        """
        if [host in self._names for host in hosts] != [True]:
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, f"This server answers to the names {self._names} only.")
        path = target.partition("?")[0]
        if path == "/":
            return self._page("gzip" in accepted)
        if path == "/state.json":
            return Answer(HTTPStatus.OK, JSON, visible_json(json.dumps(self._live.state(), allow_nan=False)).encode())
        for place, storage in self._storages.items():
            if path.startswith(f"/{place}/"):
                return _file(storage, unquote(path.removeprefix(f"/{place}/"), errors="surrogateescape"))
        return refusal(HTTPStatus.NOT_FOUND, "No such page; the report is at /.")

    def _page(self, packed: bool) -> Answer:
        headers = {"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept-Encoding"}
        page = self._live.page
        if page is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, HTML, self._live.notice, headers)
        if packed:
            return Answer(HTTPStatus.OK, HTML, page.packed, {**headers, "Content-Encoding": "gzip"})
        return Answer(HTTPStatus.OK, HTML, page.content, headers)


def _file(storage: Storage, path: str) -> Answer:
    try:
        if not _LINKED.fullmatch(path) or not _inside(storage, path):
            raise FileNotFoundError
        content = storage.read(path)
    except (FileNotFoundError, PermissionError):
        return refusal(HTTPStatus.NOT_FOUND, "No such file, or the page does not link to it.")
    except OSError as error:
        return refusal(HTTPStatus.BAD_GATEWAY, str(error))
    kind = TEXT if path.endswith((".json", ".txt")) else BYTES
    return Answer(HTTPStatus.OK, kind, content, {"Content-Security-Policy": FILE_POLICY})


def _inside(storage: Storage, path: str) -> bool:
    """Whether a path leads to a file inside the store's folder, with links resolved."""
    folder = storage.folder
    if folder is None:
        return True
    place = (folder / path).resolve()
    return place.is_relative_to(folder.resolve()) and place.is_file()
