"""Ray Tune over the trials of a search: successive halving, and going on after an interruption."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

# read when Tune is imported: it neither draws tables of its own nor writes logs beside ours
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "2")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")

import torch
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.cluster import has_node_with
from orchestrator.tuning.definition import DEPTH, OBJECTIVE, REDUCTION, Definition
from orchestrator.tuning.outcome import Found
from orchestrator.tuning.space import describe_point
from orchestrator.tuning.trial import TrialError, run_rung
from workers.stages.execution import Execution
from workers.terminal.console import Console

NAME = "tune"
GPUS_PER_TRIAL = 0.25
LOST_RETRIES = 2  # a trial whose process or node was lost goes on from its stages


class SignedTransferTrial(tune.Trainable):
    """A trial that steps from rung to rung; its state is the stages in its folder."""

    def setup(  # type: ignore[override]  # Tune hands over what ``with_parameters`` was given
        self, config: dict[str, Any], *, definition: Definition, root: str, execution: Execution, share: float
    ) -> None:
        self._definition, self._root, self._execution = definition, Path(root), execution
        if 0 < share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(share)  # a trial that takes more must not end its neighbours
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._number: int = new_config["number"]
        self._rungs: list[tuple[float, float]] = []
        return True

    def step(self) -> dict[str, Any]:
        found = run_rung(self._definition, self._number, len(self._rungs), self._root, self._execution)
        self._rungs.append((found.depth, found.accuracy_percent))
        return {
            DEPTH: found.depth,
            OBJECTIVE: found.accuracy_percent,
            "rungs": list(self._rungs),
            "diverged": found.diverged,
            "done": found.last,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"rungs": self._rungs}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        self._rungs = list(checkpoint["rungs"]) if checkpoint else []


class ResumableHalving(ASHAScheduler):
    """Asynchronous successive halving that knows a restored trial's rungs; Tune itself forgets them."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        for depth, accuracy in (trial.last_result or {}).get("rungs", ()):
            self._trial_info[trial.trial_id].on_result(trial, depth, accuracy)


class Lines(tune.Callback):
    """A line for each rung and each end of a trial, with the best so far."""

    def __init__(self, points: list[dict[str, Any]]) -> None:
        self._points = points

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any) -> None:
        number, depth, accuracy = trial.config["number"], result[DEPTH], result[OBJECTIVE]
        said = "diverged" if result["diverged"] else f"validation {accuracy:.2f} %"
        line = f"trial {number:<3} depth {depth:<5g} {said}  {describe_point(self._points[number - 1])}"
        self._say(trials, line, (depth, accuracy, -number))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trials, f"trial {trial.config['number']:<3} failed  {_reason(trial.get_error())}")

    def _say(self, trials: list[Trial], line: str, *new: tuple[float, float, int]) -> None:
        last = [(trial.last_result or {}, trial.config["number"]) for trial in trials]
        known = [(result[DEPTH], result[OBJECTIVE], -number) for result, number in last if OBJECTIVE in result]
        depth, accuracy, number = max([*known, *new], default=(0.0, 0.0, 0))
        best = f", best trial {-number}: {accuracy:.2f} % at depth {depth:g}" if number else ""
        head = f"[{sum(trial.is_finished() for trial in trials)}/{len(self._points)} ended{best}]"
        # made here: Tune pickles its callbacks, and a console cannot be
        Console(soft_wrap=True).print(f"{head} {line}", highlight=False, markup=False)


class _Silent(tune.ProgressReporter):
    """Nothing: the lines say it."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: Any) -> None:
        return


def trial_needs(gpus_per_trial: float | None, device: str) -> dict[str, float]:
    """What Ray sets aside for a trial, on the Ray that this process has joined.

    Args:
        gpus_per_trial: share of a GPU; None for a quarter where there is a GPU that the device allows.

    Raises:
        BackendError: no node can hold a trial.
    """
    allowed = device != "cpu" and has_node_with({"cpu": 1, "gpu": gpus_per_trial or GPUS_PER_TRIAL})
    if (gpus_per_trial or device.startswith("cuda")) and not allowed:
        asked = f"--gpus-per-trial {gpus_per_trial:g}" if gpus_per_trial else f"--device {device}"
        raise BackendError(f"{asked}: no node of this Ray has a CPU and that much of a GPU; leave it out to use CPUs")
    if not has_node_with({"cpu": 1}):
        raise BackendError("no node of this Ray has a CPU for a trial; add a node with one")
    return {"cpu": 1.0, "gpu": gpus_per_trial or GPUS_PER_TRIAL} if allowed else {"cpu": 1.0}


def run_trials(
    definition: Definition, root: Path, execution: Execution, needs: dict[str, float], max_concurrent: int | None
) -> list[Found]:
    """Run all trials, or what is left of them, on the Ray that this process has joined.

    Args:
        needs: of a trial, as from ``trial_needs``.
    """
    described = tune.with_parameters(
        SignedTransferTrial, definition=definition, root=str(root), execution=execution, share=needs.get("gpu", 0.0)
    )
    trainable = tune.with_resources(described, needs)
    space = {"number": tune.grid_search(list(range(1, definition.trials + 1)))}
    folder = root / NAME
    if list(folder.glob("experiment_state-*.json")):
        tuner = tune.Tuner.restore(
            str(folder), trainable, resume_unfinished=True, restart_errored=True, param_space=space
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=OBJECTIVE,
                mode="max",
                scheduler=ResumableHalving(
                    time_attr=DEPTH, max_t=definition.rounds, grace_period=1, reduction_factor=REDUCTION
                ),
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=_dirname,
            ),
            run_config=tune.RunConfig(
                name=NAME,
                storage_path=str(root),
                callbacks=[Lines(definition.points)],
                progress_reporter=_Silent(),
                failure_config=tune.FailureConfig(max_failures=LOST_RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=1),
                verbose=0,
            ),
        )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a traceback for each failure, which our lines tell
    results = tuner.fit()
    return sorted(
        (_found(definition, result) for result in map(results.__getitem__, range(len(results)))),
        key=lambda found: found.number,
    )


def _found(definition: Definition, result: tune.Result) -> Found:
    number = result.config["number"] if result.config else 0
    metrics = result.metrics or {}
    return Found(
        number,
        definition.points[number - 1],
        tuple((depth, accuracy) for depth, accuracy in metrics.get("rungs", ())),
        bool(metrics.get("diverged")),
        _reason(result.error) if result.error else None,
    )


def _dirname(trial: Trial) -> str:
    return f"trial-{trial.config['number']:03d}"


def _reason(error: BaseException | None) -> str:
    """The last line of what Ray says, which is the trial's own error."""
    own = f"{TrialError.__module__}.{TrialError.__name__}: "
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix(own) if lines else "no reason given"
