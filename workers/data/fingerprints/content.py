"""What a fingerprint covers: the bytes of a data set's files, and all else that its images and labels depend on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tickets.files import digest
from workers.data.fingerprints.manifest import Manifest, difference, listed, utc
from workers.data.fingerprints.memory import Memory, Remembered
from workers.data.fingerprints.reading import BLOCK_BYTES, ProgressCallback, changed_since, read_manifest

WHOLE_BYTES = 20 * 10**9
"""Folders of images up to this size are read whole; the bytes of larger ones, such as ImageNet, at both ends."""
SEQUENTIAL_BYTES = 10**9
"""Parquet files up to this size have the fingerprints of earlier versions, for which they are read in order."""
OF_NAMES = "files-"
"""Fingerprints of earlier versions: of names, labels and some sizes of image files, and of no pixel."""
OF_BYTES, OF_ENDS, OF_PARQUET, OF_SHARDS = "content-", "ends-", "parquet-", "shards-"


@dataclass(frozen=True, eq=False)
class Content:
    """The files of a data set, from which its fingerprint is computed.

    Attributes:
        root: the data set's folder.
        names: paths of its files below ``root``, in an order that no file system decides; (files,).
        facts: a digest of all else: labels, the order of splits.
        fingerprint: the fingerprint, from the files' digests; may read the files again.
        whole_up_to: see ``read_manifest``.
    """

    root: Path
    names: NDArray[np.bytes_]
    facts: str
    fingerprint: Callable[[Manifest], str]
    whole_up_to: int | None = None

    def changed(self, manifest: Manifest) -> str:
        """Name the files that are not as in a manifest any more, by size and times; empty if all are."""
        names = changed_since(self.root, manifest)
        return f"{len(names):,} of {len(manifest):,} files ({listed(names)})" if names else ""


def take(name: str, content: Content, cache: Path, progress: ProgressCallback) -> tuple[str, Manifest]:
    """Compute a data set's fingerprint, and remember what was read for it; only changed files are read again.

    Raises:
        DataError: a file cannot be read, or changes meanwhile.
    """
    memory = Memory.at(cache, name, content.root)
    before = memory.latest()
    manifest = read_manifest(
        content.root,
        content.names,
        content.whole_up_to,
        before.manifest if before else None,
        f"{name}: reading its files, MB",
        progress,
    )
    if before and before.facts == content.facts and _equal(before.manifest, manifest):
        memory.confirm(before.fingerprint)
        return before.fingerprint, manifest
    fingerprint = content.fingerprint(manifest)
    memory.write(fingerprint, content.facts, manifest)
    return fingerprint, manifest


def _equal(one: Manifest, other: Manifest) -> bool:
    return (
        one.whole == other.whole
        and np.array_equal(one.names, other.names)
        and one.entries.tobytes() == other.entries.tobytes()
    )


def change(name: str, earlier: str, now: str, cache: Path) -> str | None:
    """Say since when a data set's files differ from those of an earlier fingerprint, and which.

    None if this host does not remember both, of the same folder.
    """
    for memory in Memory.all_of(cache, name):
        old, new = memory.of(earlier), memory.of(now)
        if old is not None and new is not None:
            return f"{name} changed since {utc(old.confirmed_unix_s)}: {_difference(old, new)}"
    return None


def why_anew(name: str, stored: Collection[str], now: str, cache: Path) -> str | None:
    """Say why a store's stages on a data set, of other fingerprints, do not count; None if there is nothing to say."""
    if now in stored:
        return None
    for earlier in stored:
        if changed := change(name, earlier, now, cache):
            return f"{changed}; its stages are computed anew."
    if now.startswith((OF_BYTES, OF_ENDS)) and any(earlier.startswith(OF_NAMES) for earlier in stored):
        return (
            f"The stages of {name} in this store were made when their key covered names and some sizes, and no pixel; "
            f"they are computed anew."
        )
    return None


def _difference(old: Remembered, new: Remembered) -> str:
    return difference(old.manifest, new.manifest) or "the same files have other labels"


# --- folders of images -----------------------------------------------------------------------------------------------


def folder_content(
    root: Path, splits: Sequence[tuple[NDArray[np.bytes_], NDArray[np.int64]]], num_classes: int, *, streamed: bool
) -> Content:
    """The content of image files below a folder.

    Args:
        splits: names and labels of each split's images.
        streamed: whether images are read each time they are drawn; those that are read once are read whole.
    """
    names = np.concatenate([names for names, _ in splits])
    facts = digest.of_parts(_facts(splits, num_classes))

    def fingerprint(manifest: Manifest) -> str:
        kind = OF_BYTES if manifest.whole else OF_ENDS
        return f"{kind}{digest.of_parts([facts.encode(), *_digests(manifest)])}"

    return Content(root, names, facts, fingerprint, WHOLE_BYTES if streamed else None)


def _facts(splits: Sequence[tuple[NDArray[np.bytes_], NDArray[np.int64]]], num_classes: int) -> Iterator[bytes]:
    yield f"classes {num_classes}, splits {len(splits)}".encode()
    for names, labels in splits:
        for part in (names, labels.astype("<i8")):
            yield f"{part.dtype.str} {len(part)} ".encode()
            yield part.tobytes()


def _digests(manifest: Manifest) -> Iterator[bytes]:
    for field in ("size", "digest"):
        yield np.ascontiguousarray(manifest.entries[field]).tobytes()


# --- Parquet files ---------------------------------------------------------------------------------------------------


def parquet_content(root: Path, train: Sequence[Path], test: Sequence[Path]) -> Content:
    """The content of Parquet files below a folder. Names do not count, but the order of the files does."""
    paths = [*train, *test]
    names = np.array([os.fsencode(path.relative_to(root)) for path in paths], dtype=np.bytes_)
    splits = f"{len(train)} training and {len(test)} test files"

    def fingerprint(manifest: Manifest) -> str:
        if int(manifest.entries["size"].sum()) <= SEQUENTIAL_BYTES:
            return f"{OF_PARQUET}{digest.of_parts(_sizes_and_bytes(paths))}"
        return f"{OF_SHARDS}{digest.of_parts([splits.encode(), *_digests(manifest)])}"

    return Content(root, names, splits, fingerprint)


def _sizes_and_bytes(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        yield path.stat().st_size.to_bytes(8, "big")
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
