"""The small sweeps of the trials, without and with gangs, and their folders."""

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
# no probes: a probe ends the gang, and the next gang takes seconds to start
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
    """A trial's folder: the store, the plugin with its fault, and the log of training batches.

    Attributes:
        store: folder, or URL in a bucket.
    """

    folder: Path
    store: str

    @classmethod
    def make(cls, folder: Path, store: str | None = None, ranks: int = 1) -> Place:
        """Create a trial's folder."""
        folder.mkdir(parents=True)
        shutil.copy(PLUGIN, folder / "plugin.py")
        (folder / "recipe.yaml").write_text(RECIPES[ranks])
        return cls(folder, store or str(folder / "store"))

    def arguments(self, data_cache: Path, *more: object) -> list[str]:
        """Return the sweep's arguments."""
        what = ["--datasets", "patterns", "--archs", "resnet1d", "--recipe", self.folder / "recipe.yaml", "--seeds", 1]
        where = ["--store", self.store, "--data-cache", data_cache, "--plugin", self.folder / "plugin.py"]
        how = ["--device", "cpu", "--checkpoint-interval", CHECKPOINT_INTERVAL_S]
        return [str(part) for part in (*what, *where, *how, *more)]

    def inject(self, kind: str, at: list[int], folder: str = "", rank: int | None = None) -> None:
        """Schedule a fault at each of these batch numbers; in a gang, for one rank."""
        fault = {"kind": kind, "at": at, "folder": folder, "rank": rank}
        (self.folder / "fault.json").write_text(json.dumps(fault))

    def fired(self) -> int:
        """Count the injected faults that have happened."""
        return len(list(self.folder.glob("fired-*")))

    def batches(self) -> int:
        """Count the training batches begun in all processes; each rank of a gang counts its own."""
        try:
            return (self.folder / "batches").stat().st_size // LINE_BYTES
        except FileNotFoundError:
            return 0

    def seconds_per_batch(self) -> tuple[float, float]:
        """Return the 10 % quantile and the median of the seconds between a process's batches."""
        last: dict[str, float] = {}
        gaps = []
        for line in (self.folder / "batches").read_text().splitlines():
            pid, time_s = line.split()
            if pid in last:
                gaps.append(float(time_s) - last[pid])
            last[pid] = float(time_s)
        tenths = quantiles(gaps, n=10)
        return tenths[0], tenths[4]
