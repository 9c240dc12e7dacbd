"""The small sweeps that trials run, one alone and one with gangs, and the folder in which they do."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

PLUGIN = Path(__file__).with_name("plugin.py")
LINE_BYTES = 32
CHECKPOINT_INTERVAL_S = 0.04
RECIPE = """
model: {width: 4}
batch_size: 10
pretrain_epochs: 2
round_epochs: 2
final_epochs: 2
final_schedule: {name: constant}
rounds: 1
chains: 1
transfers: [signed]
transfer_rounds: [1]
probe_rounds: [1]
probe_points: 3
"""
# no probes: for one, the gang would be ended, and the next takes seconds to start
OF_GANGS = """
model: {width: 4}
batch_size: 20
pretrain_epochs: 2
round_epochs: 2
final_epochs: 2
final_schedule: {name: constant}
gpus_per_stage: 2
methods: [aws]
rounds: 1
chains: 1
transfers: [signed]
transfer_rounds: [1]
probe_rounds: []
"""
RECIPES = {1: RECIPE, 2: OF_GANGS}
"""By the ranks that train a stage together."""


@dataclass(frozen=True)
class Place:
    """A trial's folder: the store, the plugin with its fault, and the line that each training batch writes.

    Attributes:
        store: a folder or the URL of a bucket's folder.
    """

    folder: Path
    store: str

    @classmethod
    def make(cls, folder: Path, store: str | None = None, ranks: int = 1) -> Place:
        """A folder of a trial's own."""
        folder.mkdir(parents=True)
        shutil.copy(PLUGIN, folder / "plugin.py")
        (folder / "recipe.yaml").write_text(RECIPES[ranks])
        return cls(folder, store or str(folder / "store"))

    def arguments(self, data_cache: Path, *more: object) -> list[str]:
        """The command's arguments."""
        what = ["--datasets", "patterns", "--archs", "resnet1d", "--recipe", self.folder / "recipe.yaml", "--seeds", 1]
        where = ["--store", self.store, "--data-cache", data_cache, "--plugin", self.folder / "plugin.py"]
        how = ["--device", "cpu", "--checkpoint-interval", CHECKPOINT_INTERVAL_S]
        return [str(part) for part in (*what, *where, *how, *more)]

    def inject(self, kind: str, at: list[int], folder: str = "", rank: int | None = None) -> None:
        """Have a stage run into a fault, once per number of a batch; in a gang, this rank alone."""
        fault = {"kind": kind, "at": at, "folder": folder, "rank": rank}
        (self.folder / "fault.json").write_text(json.dumps(fault))

    def fired(self) -> int:
        """How many of the injected faults have happened."""
        return len(list(self.folder.glob("fired-*")))

    def batches(self) -> int:
        """Training batches begun so far, in all processes; each rank of a gang counts its own."""
        try:
            return (self.folder / "batches").stat().st_size // LINE_BYTES
        except FileNotFoundError:
            return 0

    def seconds_per_batch(self) -> tuple[float, float]:
        """The time from one batch to the next of the same process: the shortest tenth's longest, and the median."""
        last: dict[str, float] = {}
        gaps = []
        for line in (self.folder / "batches").read_text().splitlines():
            pid, time_s = line.split()
            if pid in last:
                gaps.append(float(time_s) - last[pid])
            last[pid] = float(time_s)
        tenths = quantiles(gaps, n=10)
        return tenths[0], tenths[4]
