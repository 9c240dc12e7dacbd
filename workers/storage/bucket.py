"""Storage in a bucket of an object store: S3, GCS or Azure, by one client."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tickets.files.reading import MOST_BYTES, UnreadableFileError
from workers.storage.base import Entry, NoBucketError, StorageError

LISTING_PAUSES_S = (0.2, 1.0, 5.0, 20.0)
PATIENCE = timedelta(minutes=5)  # how long the client retries 5xx answers
NO_BUCKET = "NoSuchBucket"
ENDPOINTS = r"AWS_ENDPOINT(_URL(_S3)?)?|AZURE_(STORAGE_)?ENDPOINT|GOOGLE_(STORAGE_)?(BASE_URL|ENDPOINT)"
"""Variables with the address of a server instead of the cloud's."""
PANIC = "PanicException"
"""Raised where the client's Rust code panics; no Exception, and in no module that can be imported."""
REFUSED = "non-2xx status code"  # in the client's message, once its retries have failed

Result = TypeVar("Result")


class Bucket:
    """A bucket of an object store with conditional writes (``If-None-Match``): S3, GCS or Azure.

    Credentials come from the environment, the machine's identity or, where boto3 is installed, an AWS profile.
    """

    folder = None

    def __init__(self, root: str) -> None:
        import obstore.store  # not needed for stores in folders
        from obstore.exceptions import AlreadyExistsError, BaseError

        self.root = root.rstrip("/")
        self._client, self._exists, self._fault = obstore, AlreadyExistsError, BaseError
        _check_endpoints(root)
        options: dict[str, Any] = {"retry_config": {"max_retries": 100, "retry_timeout": PATIENCE}}
        if urlsplit(root).scheme == "s3":
            options |= _aws_options()
        try:
            self._store: Any = obstore.store.from_url(self.root, **options)
        except (BaseError, ValueError) as error:
            raise StorageError(f"{root}: {_first_line(error)}") from error
        except BaseException as error:
            if type(error).__name__ != PANIC:
                raise
            raise StorageError(f"{root}: the client cannot use these settings: {_first_line(error)}") from error

    def read(self, path: str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
        return self._call(self._content, path, most_bytes, end)

    def _content(self, store: Any, path: str, most_bytes: int, end: bool) -> bytes:
        answer = self._client.get(store, path)
        size = answer.meta["size"]
        if size <= most_bytes:
            return bytes(answer.bytes())
        if end:
            return bytes(self._client.get_range(store, path, start=size - most_bytes, end=size))
        raise UnreadableFileError(
            f"{self.root}/{path} has {size:,} bytes, and at most {most_bytes:,} are read of such a file"
        )

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._call(self._client.put, path, content)

    def append(self, path: str, content: bytes) -> None:
        raise StorageError(f"{self.root}/{path}: a bucket's files cannot be appended to")

    def create(self, path: str, content: bytes, *, durable: bool = True) -> None:
        try:
            self._call(self._client.put, path, content, mode="create")
        except FileExistsError:
            # a request that is repeated after a lost answer finds its own first copy
            if self.read(path) != content:
                raise

    def exists(self) -> bool:
        return self._listed(None, lambda chunks: any(chunk for chunk in chunks))  # reads one chunk

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        return self._listed(
            prefix or None,
            lambda chunks: {
                meta["path"]: Entry(meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())
                for chunk in chunks
                for meta in chunk
            },
        )

    def irregular(self) -> dict[str, str]:
        return {}

    def _listed(self, prefix: str | None, summarise: Callable[[Iterable[Sequence[Any]]], Result]) -> Result:
        """A summary of a listing, which is read chunk by chunk."""
        for pause_s in (*LISTING_PAUSES_S, None):
            chunks: Iterable[Sequence[Any]] = self._call(self._client.list, prefix)
            try:
                return summarise(chunks)
            except self._fault as error:  # the client retries requests and broken downloads, but not a broken listing
                if pause_s is None or REFUSED in str(error):
                    raise self._unusable(error) from error
                time.sleep(pause_s)
        raise AssertionError  # the last try has returned or raised

    def upload(self, source: Path, path: str) -> None:
        self._call(self._client.put, path, source)

    def download(self, path: str, target: Path) -> None:
        self._call(self._copy, path, target)

    def _copy(self, store: Any, path: str, target: Path) -> None:
        with target.open("wb") as file:
            for chunk in self._client.get(store, path):
                file.write(chunk)

    def move(self, path: str, to: str) -> None:
        self._call(self._client.copy, path, to)
        self.remove([path])  # unlike the client's rename, survives a repeated request on GCS

    def remove(self, paths: Iterable[str]) -> None:
        names = list(paths)
        if not names:
            return
        try:
            self._call(self._client.delete, names)
        except FileNotFoundError:  # GCS and Azure stop at a missing file
            for path in names:
                with suppress(FileNotFoundError):
                    self._call(self._client.delete, path)

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return function(self._store, *arguments, **options)
        except self._exists as error:
            raise FileExistsError(errno.EEXIST, "exists already", str(arguments[0])) from error
        except FileNotFoundError as error:
            if NO_BUCKET in str(error):
                raise self._unusable(error) from error
            raise FileNotFoundError(errno.ENOENT, "is not there", f"{self.root}/{arguments[0]}") from error
        except self._fault as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StorageError:
        if NO_BUCKET in str(error):
            return NoBucketError(f"{self.root}: there is no such bucket")
        return StorageError(f"{self.root}: {_first_line(error)}")


def _aws_options() -> dict[str, Any]:
    options: dict[str, Any] = {}
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["client_options"] = {"allow_http": True}  # the user chose a server without TLS
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return options
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return options
    session = boto3.Session()
    if session.profile_name != "default" or "default" in session.available_profiles:  # the client reads none
        options["credential_provider"] = Boto3CredentialProvider(session)
    return options


def _check_endpoints(root: str) -> None:
    """Raise StorageError if a variable gives a server's address without its scheme: the client would panic."""
    for name, value in os.environ.items():
        if re.fullmatch(ENDPOINTS, name) and value and not re.match(r"https?://[^/]", value, re.IGNORECASE):
            raise StorageError(f"{root}: {name} needs http:// or https:// in front of the server's name")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
