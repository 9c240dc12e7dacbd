"""The folder on this machine in which an attempt works, and how its files get from and to the store.

In a store on a file system, an attempt works in the store's own folder. From a bucket, inputs and the newest
checkpoints are downloaded first; checkpoints are uploaded as they are written, log and progress every few seconds, and
the artifacts at the end.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from tickets.files import digest
from workers.storage import Bucket, Folder, Storage, UnreadableFileError, download_many, open_storage, read_many

MIRROR_EVERY_S = 10.0
STOP_CHECK_EVERY_S = 2.0
CHECKPOINTS = 2  # newest checkpoints to download: if one is damaged, the other serves
MIRRORED = ("log.txt", "progress.json")


class DamagedInputError(ValueError):
    """A file of an input is missing or differs from its record.

    Attributes:
        slot: name of the input.
    """

    def __init__(self, slot: str, message: str) -> None:
        super().__init__(message)
        self.slot = slot


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of ``out/``: its size and the blake2b-128 of its content."""

    size_bytes: int
    blake2b: str


Inputs = Mapping[str, tuple[str, Mapping[str, Artifact]]]
"""By input name, the folder of its artifacts, relative to the store's root, and the artifacts by file name."""


class Workspace:
    """Where an attempt works: in the store's own folder, if the store is on a file system.

    Attributes:
        folder: the attempt's folder on this machine.
        inputs: folders of the inputs' artifacts, by input name.
        earlier: checkpoint folders of earlier attempts.
    """

    def __init__(
        self, folder: Path, inputs: Mapping[str, Path], earlier: tuple[Path, ...], stop_files: tuple[Path, ...] = ()
    ) -> None:
        self.folder, self.inputs, self.earlier, self._stop_files = folder, inputs, earlier, stop_files

    def keep_checkpoint(self, folder: Path) -> None:
        """Bring a new checkpoint in ``folder`` into the store."""

    def stop_asked(self) -> bool:
        """Whether one of the stop files exists; cheap for a bucket, which a thread checks."""
        return any(path.exists() for path in self._stop_files)

    def finish(self) -> None:
        """Bring the artifacts into the store."""


@contextmanager
def open_workspace(
    root: str,
    folder: str,
    inputs: Inputs,
    stop_files: tuple[str, ...],
    *,
    writes: bool = True,
) -> Iterator[Workspace]:
    """Open the workspace of an attempt.

    Args:
        root: the store's root.
        folder: the attempt's folder, relative to the root, as are all paths.
        stop_files: if one of these files exists, the attempt is asked to stop.
        writes: bring written files into the store; False for a gang's ranks other than 0, which only read.

    Raises:
        DamagedInputError: a file of an input is missing or differs from its record.
        UnreadableFileError: a link leads from the attempt's folder, or out of the store.
        OSError: the store cannot be read.
    """
    storage = open_storage(root)
    if isinstance(storage, Bucket):
        with tempfile.TemporaryDirectory(prefix="winning-sign-") as scratch:
            copied = _Copied(storage, Path(scratch), folder, inputs)
            _check(copied.inputs, inputs)
            with copied.mirrored(stop_files) if writes else nullcontext():
                yield copied
        return
    assert isinstance(storage, Folder)
    attempt = storage.inside(folder)
    _check_unlinked(attempt)
    others = [path for path in attempt.parent.iterdir() if path.is_dir() and path != attempt]
    unlinked = [path for path in others if not path.is_symlink() and not (path / "checkpoint").is_symlink()]
    earlier = tuple(path / "checkpoint" for path in unlinked)
    folders = {slot: storage.inside(path) for slot, (path, _) in inputs.items()}
    _check(folders, inputs)
    yield Workspace(attempt, folders, earlier, tuple(storage.inside(path) for path in stop_files))


def _check_unlinked(attempt: Path) -> None:
    """Raise UnreadableFileError if a link stands where an attempt writes: it would write in the link's place."""
    for path in attempt.iterdir() if attempt.is_dir() else ():
        if path.is_symlink():
            raise UnreadableFileError(f"{path} is a link, and an attempt writes there; remove the link")


def artifact(path: Path) -> Artifact:
    """Size and digest of a file."""
    return Artifact(path.stat().st_size, digest.of_file(path))


def is_intact(path: Path, recorded: Artifact) -> bool:
    """Whether a file is what its record says. A file of another size is not read: it may be a hole of terabytes."""
    return path.stat().st_size == recorded.size_bytes and artifact(path) == recorded


def _check(folders: Mapping[str, Path], inputs: Inputs) -> None:
    for slot, (_, artifacts) in inputs.items():
        for name, recorded in artifacts.items():
            path = folders[slot] / name
            try:
                intact = is_intact(path, recorded)
            except FileNotFoundError:
                raise DamagedInputError(slot, f"input {slot}: {path} is missing") from None
            if not intact:
                raise DamagedInputError(slot, f"input {slot}: {path} differs from its record")


class _Copied(Workspace):
    """A scratch folder, whose files are uploaded to a store in a bucket."""

    def __init__(self, storage: Storage, scratch: Path, folder: str, inputs: Inputs) -> None:
        self._storage, self._remote = storage, folder
        self._uploaded: set[str] = set()
        self._stop_asked = False
        folders = {slot: scratch / "inputs" / slot for slot in inputs}
        files = [(f"{path}/{name}", folders[slot] / name) for slot, (path, names) in inputs.items() for name in names]
        with suppress(FileNotFoundError):  # _check names the missing file
            download_many(storage, files)
        earlier = self._download_checkpoints(folder.rpartition("/")[0], scratch / "earlier")
        super().__init__(scratch / "attempt", folders, earlier)
        self.folder.mkdir()

    @contextmanager
    def mirrored(self, stop_files: tuple[str, ...]) -> Iterator[None]:
        """Upload log and progress, and look for the stop files, in a thread until the block ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._mirror, args=(stop_files, over), name="mirror", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with suppress(OSError):
                self._upload_mirrored()

    def _download_checkpoints(self, attempts: str, target: Path) -> tuple[Path, ...]:
        """Download the newest checkpoints of earlier attempts, one folder per attempt."""
        checkpoints = [path for path in self._storage.listing(attempts) if "/checkpoint/" in path]
        for path in sorted(checkpoints, key=lambda path: path.rpartition("/")[2])[-CHECKPOINTS:]:
            number, name = path[len(attempts) + 1 :].partition("/")[0], path.rpartition("/")[2]
            with suppress(FileNotFoundError):  # removed since it was listed
                download_many(self._storage, [(path, target / number / name)])
        return tuple(target.iterdir()) if target.exists() else ()

    def keep_checkpoint(self, folder: Path) -> None:
        present = {path.name for path in folder.glob("[0-9]*.safetensors")}
        for name in sorted(present - self._uploaded):
            self._storage.upload(folder / name, f"{self._remote}/checkpoint/{name}")
        self._storage.remove(f"{self._remote}/checkpoint/{name}" for name in self._uploaded - present)
        self._uploaded = present

    def stop_asked(self) -> bool:
        return self._stop_asked

    def finish(self) -> None:
        for path in sorted((self.folder / "out").iterdir()):
            self._storage.upload(path, f"{self._remote}/out/{path.name}")

    def _mirror(self, stop_files: tuple[str, ...], over: threading.Event) -> None:
        mirrored_at = time.monotonic()
        while not over.wait(STOP_CHECK_EVERY_S):
            with suppress(OSError):  # the bucket is unreachable for a while
                self._stop_asked = self._stop_asked or bool(read_many(self._storage, stop_files))
                if time.monotonic() - mirrored_at > MIRROR_EVERY_S:
                    self._upload_mirrored()
                    mirrored_at = time.monotonic()

    def _upload_mirrored(self) -> None:
        for name in MIRRORED:
            if (self.folder / name).exists():
                self._storage.write(f"{self._remote}/{name}", (self.folder / name).read_bytes())
