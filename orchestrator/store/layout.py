"""Where a stage's files lie in a store, and what a listing tells of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.storage import Entry

KEY_DIGITS = 16
RECORD = "record.json"
COLLECTED = ".collected"
"""Ends the name of an empty file that stands for an artifact which ``orchestrator.gc`` removed."""


@dataclass
class StageFiles:
    """A stage's place and what lies there.

    Attributes:
        folder: relative to the store's root.
        files: by path relative to the folder.
    """

    folder: str
    files: dict[str, Entry] = field(default_factory=dict)

    @property
    def attempts(self) -> list[int]:
        """Numbers of its attempts, rising."""
        numbers = {path.split("/")[1] for path in self.files if path.startswith("attempts/")}
        return sorted(int(number) for number in numbers if number.isdigit())

    @property
    def checkpoint(self) -> str:
        """Name of the furthest checkpoint of any attempt; names sort by how far they are. Empty if there is none."""
        return max((path.rpartition("/")[2] for path in self.files if "/checkpoint/" in path), default="")


def stage_folder(kind: str, name: str, key: str) -> str:
    """Where a stage's files go, relative to the store's root."""
    return f"stages/{kind}/{slug(name)}-{key[:KEY_DIGITS]}"


def slug(name: str) -> str:
    """A stage's name as a folder name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def stage_folders(listing: Mapping[str, Entry]) -> dict[str, list[StageFiles]]:
    """The folders of each stage, by the first digits of its key: more than one only if someone copied or renamed it.

    The one that counts comes first: one with a record before one without, else by name.
    """
    folders: dict[str, StageFiles] = {}
    for path, entry in listing.items():
        parts = path.split("/", 3)
        if len(parts) == 4 and parts[0] == "stages":
            folder = "/".join(parts[:3])
            folders.setdefault(folder, StageFiles(folder)).files[parts[3]] = entry
    found: dict[str, list[StageFiles]] = {}
    for folder in sorted(folders):
        found.setdefault(folder[-KEY_DIGITS:], []).append(folders[folder])
    for same_key in found.values():
        same_key.sort(key=lambda stage: RECORD not in stage.files)
    return found


def group_stages(listing: Mapping[str, Entry]) -> dict[str, StageFiles]:
    """The stages in a listing, by the first digits of their keys."""
    return {short: folders[0] for short, folders in stage_folders(listing).items()}
