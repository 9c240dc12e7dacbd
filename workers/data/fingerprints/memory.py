"""Remember in the data cache what was read of a data set's files, so that the next start only asks for their times.

    {cache}/fingerprints/{data set}-{digest of its folder}/{fingerprint}.npz

A file there was last confirmed at its own time of modification. A damaged or unwritable one costs another reading.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tickets.files import digest
from tickets.files.writing import replacing
from workers.data.fingerprints.manifest import ENTRY, Manifest

FOLDER = "fingerprints"
SUFFIX = ".npz"
PLACE_BYTES = 8
KEPT = 8
"""Manifests of one folder that are kept: the newest ones."""
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Remembered:
    """What was read of a data set's files.

    Attributes:
        facts: ``Content.facts`` at that time.
        confirmed_unix_s: when the files were last found to be so.
    """

    fingerprint: str
    facts: str
    manifest: Manifest
    confirmed_unix_s: float


class Memory:
    """What is remembered of a data set in one folder.

    Attributes:
        folder: where it is remembered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def at(cls, cache: Path, name: str, root: Path) -> Memory:
        """The memory of a data set in the folder ``root``."""
        place = digest.of_text(str(root.resolve()), size_bytes=PLACE_BYTES)
        return cls(cache / FOLDER / f"{name.replace(':', '-')}-{place}")

    @classmethod
    def all_of(cls, cache: Path, name: str) -> list[Memory]:
        """The memories of a data set, wherever it lies."""
        return [
            cls(path) for path in sorted((cache / FOLDER).glob(f"{name.replace(':', '-')}-{'?' * 2 * PLACE_BYTES}"))
        ]

    def of(self, fingerprint: str) -> Remembered | None:
        """What was read when the content had a fingerprint; None if that is not remembered."""
        return _read(self.folder / f"{fingerprint}{SUFFIX}")

    def latest(self, *, whole: bool) -> Remembered | None:
        """What was read last of whole files, or of both ends of files."""
        remembered = map(_read, self._newest_first())
        return next((found for found in remembered if found and found.manifest.whole == whole), None)

    def write(self, fingerprint: str, facts: str, manifest: Manifest) -> None:
        """Remember a reading; forget the oldest."""
        with suppress(OSError):  # a plan may lack the right to write, and the next start reads again
            self.folder.mkdir(parents=True, exist_ok=True)
            about = json.dumps({"fingerprint": fingerprint, "facts": facts, "whole": manifest.whole})
            with replacing(self.folder / f"{fingerprint}{SUFFIX}") as partial:
                np.savez_compressed(
                    partial, about=np.array(about), names=manifest.names, entries=manifest.entries, allow_pickle=False
                )
            for path in list(self._newest_first())[KEPT:]:
                path.unlink(missing_ok=True)

    def confirm(self, fingerprint: str) -> None:
        """Note that the files are still as they were remembered."""
        with suppress(OSError):
            os.utime(self.folder / f"{fingerprint}{SUFFIX}")

    def _newest_first(self) -> Iterator[Path]:
        times = {}
        with suppress(OSError):
            for path in self.folder.glob(f"[!.]*{SUFFIX}"):
                times[path] = path.stat().st_mtime_ns
        yield from sorted(times, key=lambda path: times[path], reverse=True)


def _read(path: Path) -> Remembered | None:
    """Read a file of the memory; None if it is missing or damaged."""
    try:
        confirmed = path.stat().st_mtime
        with np.load(path, allow_pickle=False) as stored:
            names, entries, about = stored["names"], stored["entries"], json.loads(str(stored["about"]))
        fingerprint, facts, whole = about["fingerprint"], about["facts"], about["whole"]
    except UNREADABLE:
        return None
    valid = entries.dtype == ENTRY and names.dtype.kind == "S" and names.shape == entries.shape == (len(names),)
    if not valid or path.name != f"{fingerprint}{SUFFIX}" or not isinstance(whole, bool):
        return None
    return Remembered(fingerprint, facts, Manifest(names, entries, whole), confirmed)
