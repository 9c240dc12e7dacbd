"""Small sweeps that tests run as a user would: a plugin's data set, a recipe of seconds, and options for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.command_lines import replacing

PATTERNS = '''
"""A data set of 200 training and 60 test images."""

import numpy as np

from workers.data import Arrays, Source, data_set


@data_set("patterns", channels=1, num_classes=3)
def find(data_root, downloads):
    def decode():
        stream = np.random.default_rng(0)
        patterns = stream.integers(0, 256, (3, 1, 8, 8))
        labels = stream.integers(0, 3, 260)
        images = (patterns[labels] * 0.5 + stream.integers(0, 128, (260, 1, 8, 8))).astype(np.uint8)
        return Arrays(images[:200], labels[:200], images[200:], labels[200:])

    return Source("made by a test", "patterns-1", decode)
'''
SHORT: dict[str, Any] = {
    "model": {"width": 4},
    "batch_size": 32,
    "pretrain_epochs": 1,
    "round_epochs": 1,
    "final_epochs": 1,
    "final_schedule": {"name": "constant"},
    "probe_points": 3,
    "seeds": 1,
    "chains": 1,
}
ONE_ROUND: dict[str, Any] = {"rounds": 1, "methods": ["aws"], "transfers": ["signed"]}
STAGES_OF_ONE_ROUND = 8  # dense, pretrain, round, retrain, transfer, twin, LMC probe, stability probe
TWO_ROUNDS: dict[str, Any] = {"rounds": 2, "transfer_rounds": [2], "probe_rounds": [2]}


def prepare(folder: Path, **fields: Any) -> Path:
    """Write the data set's plugin and a recipe of one epoch per training, with these fields changed, to a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "patterns.py").write_text(PATTERNS)
    (folder / "small.yaml").write_text(yaml.safe_dump({**SHORT, **fields}))
    return folder


def options(folder: Path, store: object, *more: object, architecture: str = "resnet1d") -> list[object]:
    """Return a sweep's options with a prepared folder's plugin, recipe and data cache."""
    what = ["--datasets", "patterns", "--archs", architecture, "--recipe", folder / "small.yaml"]
    where = ["--store", store, "--data-cache", folder / "cache", "--plugin", folder / "patterns.py"]
    return replacing([*what, *where], more)
