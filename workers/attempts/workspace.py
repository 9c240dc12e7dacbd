"""The folder on this machine in which an attempt works, and how its files come from and get into the store.

A store in a folder is worked in directly. For one in a bucket the inputs and the newest checkpoints are copied here
first; checkpoints are copied back as they are written, the log and the progress every few seconds, the rest at the end.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tickets.files import digest
from workers.storage import Bucket, Storage, download_many, open_storage

MIRROR_EVERY_S = 10.0
LOOK_FOR_A_STOP_EVERY_S = 2.0
CHECKPOINTS = 2  # the newest ones that are copied from a bucket: should one be damaged, there is the other
MIRRORED = ("log.txt", "progress.json")


class DamagedInputError(ValueError):
    """An input's file is not what its record says.

    Attributes:
        slot: which input.
    """

    def __init__(self, slot: str, message: str) -> None:
        super().__init__(message)
        self.slot = slot


@dataclass(frozen=True)
class Artifact:
    """A file of ``out/``: its size and the blake2b-128 of its content."""

    size_bytes: int
    blake2b: str


class Workspace(Protocol):
    """Where an attempt works.

    Attributes:
        folder: the attempt's folder on this machine.
        inputs: folders with the inputs' artifacts, by input name.
        earlier: folders with earlier attempts' checkpoints.
    """

    folder: Path
    earlier: tuple[Path, ...]

    @property
    def inputs(self) -> Mapping[str, Path]: ...

    def keep_checkpoint(self, folder: Path) -> None:
        """A checkpoint was written into this folder."""

    def stop_asked(self) -> bool:
        """Whether one of the stop files is there; cheap for a bucket, where a thread looks."""

    def finish(self) -> None:
        """Bring everything into the store."""


@contextmanager
def open_workspace(
    root: str,
    folder: str,
    inputs: Mapping[str, tuple[str, Mapping[str, Artifact]]],
    stop_files: tuple[str, ...],
    *,
    writes: bool = True,
) -> Iterator[Workspace]:
    """The workspace of an attempt.

    Args:
        root: the store's.
        folder: the attempt's, relative to the root, as all paths here.
        inputs: by input name, the folder of its artifacts and what these are.
        stop_files: each asks the attempt to stop by being there.
        writes: bring what is written into the store; not so for a gang's ranks other than 0, which only read.

    Raises:
        DamagedInputError: an input is not what its record says.
        OSError: the store cannot be read.
    """
    storage = open_storage(root)
    if isinstance(storage, Bucket):
        with (
            tempfile.TemporaryDirectory(prefix="winning-sign-") as scratch,
            _Copied(storage, Path(scratch), folder, inputs, stop_files, writes) as copied,
        ):
            _check(copied.inputs, inputs)
            yield copied
    else:
        assert storage.folder is not None
        in_place = _InPlace(storage.folder, folder, inputs, stop_files)
        _check(in_place.inputs, inputs)
        yield in_place


def artifact(path: Path) -> Artifact:
    """What a file is."""
    return Artifact(path.stat().st_size, digest.of_file(path))


def _check(folders: Mapping[str, Path], expected: Mapping[str, tuple[str, Mapping[str, Artifact]]]) -> None:
    for slot, (_, files) in expected.items():
        for name, wanted in files.items():
            path = folders[slot] / name
            try:
                found = artifact(path)
            except FileNotFoundError:
                raise DamagedInputError(slot, f"input {slot}: {path} is missing") from None
            if found != wanted:
                raise DamagedInputError(slot, f"input {slot}: {path} is not what its record says")


class _InPlace:
    """In the store's own folder."""

    def __init__(
        self,
        root: Path,
        folder: str,
        inputs: Mapping[str, tuple[str, Mapping[str, Artifact]]],
        stop_files: tuple[str, ...],
    ) -> None:
        self.folder = root / folder
        self.inputs = {slot: root / path for slot, (path, _) in inputs.items()}
        self.earlier = tuple(
            path / "checkpoint" for path in self.folder.parent.iterdir() if path.is_dir() and path != self.folder
        )
        self._stop_files = [root / path for path in stop_files]

    def keep_checkpoint(self, folder: Path) -> None:
        """It lies in the store already."""

    def stop_asked(self) -> bool:
        return any(path.exists() for path in self._stop_files)

    def finish(self) -> None:
        """All of it lies in the store already."""


class _Copied:
    """In a scratch folder, beside a bucket."""

    def __init__(
        self,
        storage: Storage,
        scratch: Path,
        folder: str,
        inputs: Mapping[str, tuple[str, Mapping[str, Artifact]]],
        stop_files: tuple[str, ...],
        writes: bool,
    ) -> None:
        self._writes = writes
        self._storage, self._remote, self._stop_files = storage, folder, stop_files
        self.folder = scratch / "attempt"
        self.folder.mkdir()
        self.inputs = {slot: scratch / "inputs" / slot for slot in inputs}
        files = [
            (f"{path}/{name}", self.inputs[slot] / name) for slot, (path, names) in inputs.items() for name in names
        ]
        with suppress(FileNotFoundError):  # which one is found when they are checked
            download_many(storage, files)
        attempts, earlier = folder.rpartition("/")[0], scratch / "earlier"
        checkpoints = [path for path in storage.listing(attempts) if "/checkpoint/" in path]
        for path in sorted(checkpoints, key=lambda path: path.rpartition("/")[2])[-CHECKPOINTS:]:
            number, name = path[len(attempts) + 1 :].partition("/")[0], path.rpartition("/")[2]
            with suppress(FileNotFoundError):  # removed meanwhile
                download_many(storage, [(path, earlier / number / name)])
        self.earlier = tuple(earlier.iterdir()) if earlier.exists() else ()
        self._kept: set[str] = set()
        self._stop_asked = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._mirror, name="mirror", daemon=True)

    def __enter__(self) -> _Copied:
        if self._writes:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._writes:
            return
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            self._copy_small()

    def keep_checkpoint(self, folder: Path) -> None:
        present = {path.name for path in folder.glob("[0-9]*.safetensors")}
        for name in sorted(present - self._kept):
            self._storage.upload(folder / name, f"{self._remote}/checkpoint/{name}")
        self._storage.remove(f"{self._remote}/checkpoint/{name}" for name in self._kept - present)
        self._kept = present

    def stop_asked(self) -> bool:
        return self._stop_asked

    def finish(self) -> None:
        for path in sorted((self.folder / "out").iterdir()):
            self._storage.upload(path, f"{self._remote}/out/{path.name}")

    def _mirror(self) -> None:
        copied = time.monotonic()
        while not self._over.wait(LOOK_FOR_A_STOP_EVERY_S):
            with suppress(OSError):  # unreachable for a while
                self._stop_asked = self._stop_asked or any(self._is_there(path) for path in self._stop_files)
                if time.monotonic() - copied > MIRROR_EVERY_S:
                    self._copy_small()
                    copied = time.monotonic()

    def _is_there(self, path: str) -> bool:
        try:
            self._storage.read(path)
        except FileNotFoundError:
            return False
        return True

    def _copy_small(self) -> None:
        for name in MIRRORED:
            if (self.folder / name).exists():
                self._storage.write(f"{self._remote}/{name}", (self.folder / name).read_bytes())
