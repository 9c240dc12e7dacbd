"""Weights & Biases: a run for each stage, offline unless the user has logged in."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from orchestrator.sinks.base import Sink, SinkError
from orchestrator.sinks.run import Run

MARK = "winning-sign-logged"
"""File in the folder of a run that was written whole."""


class WandbSink(Sink):
    """Writes runs of a project, in groups of one round each, to wandb's folder, and to its server after a login."""

    packages = ("wandb",)
    default_place = "winning-sign"

    @staticmethod
    def check(place: str) -> None:
        if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", place):
            raise SinkError(f"wandb:{place}: expected a project, or ENTITY/PROJECT")

    def __init__(self, place: str | None) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it reports errors to its makers otherwise
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self._wandb = wandb
        entity, _, self._project = (place or self.default_place).rpartition("/")
        self._entity = entity or None
        self._mode: Any = os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")
        if self._mode == "disabled":
            raise SinkError("WANDB_MODE=disabled keeps nothing; unset it, or set it to offline")
        self._folder = Path(wandb.setup().settings.wandb_dir)

    def logged(self) -> set[str]:
        return {path.parent.name.rpartition("-")[2] for path in self._folder.glob(f"*run-*/{MARK}")}

    def write(self, run: Run) -> None:
        for unfinished in self._folder.glob(f"offline-run-*-{run.key}"):
            shutil.rmtree(unfinished)
        settings = self._wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        opened = self._wandb.init(
            entity=self._entity,
            project=self._project,
            id=run.key,
            resume="allow",  # a run that a killed process left on the server goes on: its steps are not logged twice
            mode=self._mode,
            name=run.name,
            group=f"{run.section}/{run.group}",
            job_type=run.job,
            tags=sorted({*run.tags}),
            notes=run.link,
            config={**run.parameters, "store": run.link},
            settings=settings,
        )
        opened.define_metric("epoch")
        opened.define_metric("*", step_metric="epoch")
        for epoch in run.epochs:
            values = {**epoch.metrics, "epoch": epoch.number, "_timestamp": epoch.ended_unix_s}
            opened.log(values, step=epoch.number)
        opened.summary.update(run.results)
        opened.finish()
        (Path(opened.settings.sync_dir) / MARK).touch()


def _logged_in() -> bool:
    import wandb

    try:
        return wandb.login(prompt=False, verify=False)
    except wandb.errors.UsageError:
        return False
