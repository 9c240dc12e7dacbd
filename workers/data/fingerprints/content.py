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
from workers.data.fingerprints.reading import (
    BLOCK_BYTES,
    Inspect,
    ProgressCallback,
    changed_since,
    read_manifest,
    stamps,
)

WHOLE_BYTES = 20 * 10**9
"""Folders of images up to this size are read whole; larger ones, such as ImageNet, at both ends, if not asked else."""
SEQUENTIAL_BYTES = 10**9
"""Parquet files up to this size, with one test file, keep earlier versions' fingerprints: they are read in order."""
OF_BYTES, OF_ENDS, OF_PARQUET, OF_SHARDS = "content-", "ends-", "parquet-", "shards-"
COVERED = {
    OF_BYTES: "every byte of every file",
    OF_ENDS: "both ends of every file",
    OF_PARQUET: "every byte of its Parquet files",
    OF_SHARDS: "every byte of its Parquet files and the split of each",
    "torchvision-": "the checksum of torchvision's archive",
    "files-": "names and some sizes, and no pixel",
}
"""What a fingerprint covers, by how it begins; ``files-`` is of earlier versions."""


@dataclass(frozen=True, eq=False)
class Content:
    """The files of a data set, from which its fingerprint is computed.

    Attributes:
        root: the data set's folder.
        names: paths of its files below ``root``, in an order that no file system decides; (files,).
        facts: a digest of all else: labels, the order of splits.
        kind: how the fingerprint begins: see ``COVERED``.
        fingerprint: the fingerprint, from the files' digests; may read the files again.
        whole_up_to: bytes of all files together up to which they are read whole, and beyond which at both ends, unless
            every byte is asked for; None reads them whole in any case.
        inspect: see ``read_manifest``.
    """

    root: Path
    names: NDArray[np.bytes_]
    facts: str
    kind: Callable[[Manifest], str]
    fingerprint: Callable[[Manifest], str]
    whole_up_to: int | None = None
    inspect: Inspect | None = None

    def changed(self, manifest: Manifest) -> str:
        """Name the files that are not as in a manifest any more, by size and times; empty if all are."""
        names = changed_since(self.root, manifest)
        return f"{len(names):,} of {len(manifest):,} files ({listed(names)})" if names else ""


def take(
    name: str, content: Content, cache: Path, progress: ProgressCallback, *, every_byte: bool = False
) -> tuple[str, Manifest]:
    """Compute a data set's fingerprint, and remember what was read for it; only changed files are read again.

    Args:
        every_byte: read files whole, whatever their size.

    Raises:
        DataError: a file cannot be read, changes meanwhile, or has a fault.
    """
    memory = Memory.at(cache, name, content.root)
    entries, most = stamps(content.root, content.names), content.whole_up_to
    whole = every_byte or most is None or int(entries["size"].sum()) <= most
    before = memory.latest(whole=whole)
    manifest = read_manifest(
        content.root,
        content.names,
        entries,
        whole,
        before.manifest if before else None,
        f"{name}: reading its files, MB",
        progress,
        content.inspect,
    )
    same = before is not None and before.facts == content.facts and _equal(before.manifest, manifest)
    if before and same and before.fingerprint.startswith(content.kind(manifest)):
        memory.confirm(before.fingerprint)
        return before.fingerprint, manifest
    fingerprint = content.fingerprint(manifest)
    memory.write(fingerprint, content.facts, manifest)
    return fingerprint, manifest


def _equal(one: Manifest, other: Manifest) -> bool:
    return np.array_equal(one.names, other.names) and one.entries.tobytes() == other.entries.tobytes()


def change(name: str, earlier: str, now: str, cache: Path) -> str | None:
    """Say since when a data set's files differ from those of an earlier fingerprint, and which.

    None if this host does not remember both, of the same folder, or if they differ only in what they cover.
    """
    for memory in Memory.all_of(cache, name):
        old, new = memory.of(earlier), memory.of(now)
        if old is not None and new is not None and (differs := _difference(old, new)):
            return f"{name} changed since {utc(old.confirmed_unix_s)}: {differs}"
    return None


def why_anew(name: str, stored: Collection[str], now: str, cache: Path) -> str | None:
    """Say why a store's stages on a data set, of other fingerprints, do not count; None if there is nothing to say."""
    if now in stored:
        return None
    for earlier in stored:
        if changed := change(name, earlier, now, cache):
            return f"{changed}; its stages are computed anew."
    covers_now = covered(now)
    before = dict.fromkeys(covers for earlier in stored if (covers := covered(earlier)) not in (None, covers_now))
    if covers_now is None or not before:
        return None
    on_request = now.startswith(OF_ENDS) and COVERED[OF_BYTES] in before
    remedy = ", unless you give --hash-all-data" if on_request else ""
    return (
        f"The stages of {name} in this store were made when their key covered {', or '.join(map(str, before))}; it now "
        f"covers {covers_now}, so they are computed anew{remedy}."
    )


def covered(fingerprint: str) -> str | None:
    """What a fingerprint covers, in words; None for a plugin's own."""
    return next((covers for kind, covers in COVERED.items() if fingerprint.startswith(kind)), None)


def _difference(old: Remembered, new: Remembered) -> str:
    relabelled = "the same files have other labels" if old.facts != new.facts else ""
    return difference(old.manifest, new.manifest) or relabelled


# --- folders of images -----------------------------------------------------------------------------------------------


def folder_content(
    root: Path,
    names: NDArray[np.bytes_],
    splits: Sequence[tuple[NDArray[np.bytes_], NDArray[np.int64]]],
    num_classes: int,
    inspect: Inspect,
    *,
    streamed: bool,
) -> Content:
    """The content of image files below a folder.

    Args:
        names: paths of all images below ``root``, in the order of ``splits``.
        splits: names, which may be those of another layout of the same data, and labels of each split's images.
        streamed: whether images are read each time they are drawn; those that are read once are read whole.
    """
    facts = digest.of_parts(_facts(splits, num_classes))

    def kind(manifest: Manifest) -> str:
        return OF_BYTES if manifest.whole else OF_ENDS

    def fingerprint(manifest: Manifest) -> str:
        return f"{kind(manifest)}{digest.of_parts([facts.encode(), *_digests(manifest)])}"

    return Content(root, names, facts, kind, fingerprint, WHOLE_BYTES if streamed else None, inspect)


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

    def kind(manifest: Manifest) -> str:
        # with one test file, the order alone tells the splits, as in the fingerprints of earlier versions
        small = int(manifest.entries["size"].sum()) <= SEQUENTIAL_BYTES
        return OF_PARQUET if small and len(test) == 1 else OF_SHARDS

    def fingerprint(manifest: Manifest) -> str:
        if kind(manifest) == OF_PARQUET:
            return f"{OF_PARQUET}{digest.of_parts(_sizes_and_bytes(paths))}"
        return f"{OF_SHARDS}{digest.of_parts([splits.encode(), *_digests(manifest)])}"

    return Content(root, names, splits, kind, fingerprint)


def _sizes_and_bytes(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        yield path.stat().st_size.to_bytes(8, "big")
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
