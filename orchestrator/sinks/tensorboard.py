"""TensorBoard: a folder of event files for each stage, below a folder of the user's."""

from __future__ import annotations

import re
import shutil

from orchestrator.sinks.base import Sink, SinkError
from orchestrator.sinks.run import Run
from tickets.files.home import expanded

KEY_FILE = "stage-key.txt"
"""Holds the key of a stage that was written whole."""
MOST_LETTERS = 100  # of a folder's name


class TensorBoardSink(Sink):
    """Writes runs named ``STAGE-KEY``, after the stage and the first digits of its key, to a folder."""

    packages = ("tensorboard",)
    default_place = "runs"

    @staticmethod
    def check(place: str) -> None:
        if "://" in place:
            raise SinkError(f"tensorboard:{place}: event files are written to a folder; give its path")
        if any(path.exists() and not path.is_dir() for path in (expanded(place), *expanded(place).parents)):
            raise SinkError(f"tensorboard:{place}: a file is in the way of this folder; give another folder")

    def __init__(self, place: str | None) -> None:
        self._folder = expanded(place or self.default_place)
        self._folder.mkdir(parents=True, exist_ok=True)

    def logged(self) -> set[str]:
        return {path.read_text(encoding="utf-8") for path in self._folder.rglob(KEY_FILE)}

    def write(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = self._folder.joinpath(*map(_part, f"{run.name}-{run.key[:8]}".split("/")))
        if folder.exists():
            shutil.rmtree(folder)
        with SummaryWriter(folder) as writer:
            for epoch in run.epochs:
                for name, value in epoch.metrics.items():
                    writer.add_scalar(name, value, epoch.number, epoch.ended_unix_s)
            writer.add_text("stage", f"{run.link}\n\nkey {run.key}", run.last_epoch, run.finished_unix_s)
            results = {f"results/{name}": value for name, value in run.results.items()}
            # "." keeps the parameters in this folder; by default they are a run of their own
            writer.add_hparams(run.parameters, results, run_name=".", global_step=run.last_epoch)
        (folder / KEY_FILE).write_text(run.key, encoding="utf-8")


def _part(name: str) -> str:
    """A part of a stage's name as a folder's name: one that cannot lead elsewhere, whatever a record says."""
    return re.sub(r"[^\w-]", "_", name)[:MOST_LETTERS] or "_"
