"""Where a stage's files lie in a store, and what a listing tells about stages. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern

from workers.storage import Entry

FOLDERS = ("stages", "plans", "drivers", "events")
"""The folders of a store."""
KEY_DIGITS = 16
RECORD = "record.json"
COLLECTED = ".collected"
"""Suffix of the empty file that replaces an artifact removed by ``orchestrator.gc``."""
QUARANTINE = "set-aside/"
"""Folder of quarantined records in a stage's folder, and of other quarantined files in the root."""
RERUN, BADGE = "rerun.json", "same-bits.svg"
"""What ``winning-sign verify --rerun`` found, and its badge."""
_ATTEMPT = re.compile("[1-9][0-9]{0,8}")


@dataclass(slots=True)
class StageFiles:
    """A stage's folder, relative to the store's root, and its files by path relative to the folder."""

    folder: str
    files: dict[str, Entry] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the stage has a record."""
        return RECORD in self.files

    @property
    def record(self) -> str:
        """The record's path, relative to the store's root."""
        return f"{self.folder}/{RECORD}"

    @property
    def attempts(self) -> list[int]:
        """The attempts' numbers, ascending."""
        numbers = {path.split("/")[1] for path in self.files if path.startswith("attempts/")}
        return sorted(int(number) for number in numbers if _ATTEMPT.fullmatch(number))

    @property
    def checkpoint(self) -> str:
        """Name of the furthest checkpoint of all attempts; names sort by progress. Empty if there is none."""
        return max((path.rpartition("/")[2] for path in self.files if "/checkpoint/" in path), default="")


def stage_folder(kind: str, name: str, key: str) -> str:
    """A stage's folder, relative to the store's root."""
    return f"stages/{kind}/{slug(name)}-{key[:KEY_DIGITS]}"


def slug(name: str) -> str:
    """A stage's name as a folder name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def stage_folders(listing: Mapping[str, Entry]) -> dict[str, list[StageFiles]]:
    """Group a listing by stage: its folders, by the first digits of its key.

    A stage has several folders only if someone copied or renamed one. The folder that counts comes first: a folder
    with a record before one without, then by name.
    """
    folders: dict[str, StageFiles] = {}
    for path, entry in listing.items():
        parts = path.split("/", 3)
        if len(parts) == 4 and parts[0] == "stages":
            folder = "/".join(parts[:3])
            folders.setdefault(folder, StageFiles(folder)).files[intern(parts[3])] = entry
    by_key: dict[str, list[StageFiles]] = {}
    for folder in sorted(folders):
        by_key.setdefault(folder[-KEY_DIGITS:], []).append(folders[folder])
    for same_key in by_key.values():
        same_key.sort(key=lambda stage: not stage.done)
    return by_key


def group_stages(listing: Mapping[str, Entry]) -> dict[str, StageFiles]:
    """Group a listing by stage: the folder that counts, by the first digits of the key."""
    return {short: folders[0] for short, folders in stage_folders(listing).items()}
