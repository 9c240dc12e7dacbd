"""What a crate publishes of a store's frames: no host, no store's root, no folder outside of the store."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pandas as pd

from analysis.frames.load import Frames
from tickets.files.home import last_part, without_folders

_PATH_IN_A_WORD = re.compile(r"(^|[=:,]|file://)(/(?!/).+)", re.S)


def public(frames: Frames, name: str) -> Frames:
    """Return the frames with the store's ``name`` for its root, and hosts as "machine 1", "machine 2", ….

    Command lines and messages keep the last part of an absolute path only.
    """
    root = frames.stores[0]
    hosts = pd.concat([frames.stages["host"], frames.events["machine"]]).dropna().unique()
    machine_of = {host: f"machine {number}" for number, host in enumerate(hosts, start=1)}

    def numbered(column: pd.Series) -> pd.Series:
        return column.map(machine_of).astype("str")  # a column without any host is one of texts too

    def cut(text: str) -> str:
        return without_folders(text.replace(root, name))

    def cut_words(command: str) -> str:
        return without_folders_in_words(command.replace(root, name))

    events, failures, commands = frames.events, frames.failures, frames.commands
    return replace(
        frames,
        stores=(name,),
        stages=frames.stages.assign(store=name, host=numbered(frames.stages["host"])),
        events=events.assign(machine=numbered(events["machine"]), error=events["error"].map(cut, na_action="ignore")),
        failures=failures.assign(message=failures["message"].map(cut, na_action="ignore")),
        commands=commands.assign(command=commands["command"].map(cut_words)),
        left_out={path.replace(root, name): cut(sentence) for path, sentence in frames.left_out.items()},
    )


def without_folders_in_words(command: str) -> str:
    """Write ``…/`` for the folders of absolute paths in a command line, whose words may hold spaces."""
    words = shlex.split(command)
    return shlex.join(_PATH_IN_A_WORD.sub(lambda found: found[1] + last_part(found[2]), word) for word in words)
