"""Run a search on Ray Tune: successive halving, resumed after an interruption."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

# Tune reads these at import: no tables and no logs of its own
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
from orchestrator.backends.ray.devices import has_node_with
from orchestrator.tuning.definition import DEPTH, OBJECTIVE, REDUCTION, Definition
from orchestrator.tuning.outcome import TrialResult
from orchestrator.tuning.space import describe_point
from orchestrator.tuning.trial import TrialError, run_rung
from workers.stages.execution import Execution
from workers.terminal.console import Console

NAME = "tune"
GPUS_PER_TRIAL = 0.25
LOST_RETRIES = 2  # a trial whose process or node was lost resumes from its stages


class SignedTransferTrial(tune.Trainable):
    """A trial that steps from rung to rung; its state is its store."""

    def setup(  # type: ignore[override]  # Tune passes the arguments of ``with_parameters``
        self, config: dict[str, Any], *, definition: Definition, root: str, execution: Execution, share: float
    ) -> None:
        self._definition, self._root, self._execution = definition, Path(root), execution
        if 0 < share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(share)  # so that a trial cannot exhaust its neighbours' memory
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._number: int = new_config["number"]
        self._rungs: list[tuple[float, float]] = []
        return True

    def step(self) -> dict[str, Any]:
        rung = run_rung(self._definition, self._number, len(self._rungs), self._root, self._execution)
        self._rungs.append((rung.depth, rung.accuracy_percent))
        return {
            DEPTH: rung.depth,
            OBJECTIVE: rung.accuracy_percent,
            "rungs": list(self._rungs),
            "diverged": rung.diverged,
            "done": rung.last,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"rungs": self._rungs}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        self._rungs = list(checkpoint["rungs"]) if checkpoint else []


class ResumableHalving(ASHAScheduler):
    """Asynchronous successive halving that remembers a restored trial's rungs, which Tune forgets."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        for depth, accuracy in (trial.last_result or {}).get("rungs", ()):
            self._trial_info[trial.trial_id].on_result(trial, depth, accuracy)


class Lines(tune.Callback):
    """Print a line for each rung and each failed trial, with the best trial so far."""

    def __init__(self, points: list[dict[str, Any]]) -> None:
        self._points = points

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any) -> None:
        number, depth, accuracy = trial.config["number"], result[DEPTH], result[OBJECTIVE]
        outcome = "diverged" if result["diverged"] else f"validation {accuracy:.2f} %"
        line = f"trial {number:<3} depth {depth:<5g} {outcome}  {describe_point(self._points[number - 1])}"
        self._print(trials, line, (depth, accuracy, -number))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._print(trials, f"trial {trial.config['number']:<3} failed  {_reason(trial.get_error())}")

    def _print(self, trials: list[Trial], line: str, *new: tuple[float, float, int]) -> None:
        last = [(trial.last_result or {}, trial.config["number"]) for trial in trials]
        scores = [(result[DEPTH], result[OBJECTIVE], -number) for result, number in last if OBJECTIVE in result]
        depth, accuracy, number = max([*scores, *new], default=(0.0, 0.0, 0))
        best = f", best trial {-number}: {accuracy:.2f} % at depth {depth:g}" if number else ""
        head = f"[{sum(trial.is_finished() for trial in trials)}/{len(self._points)} ended{best}]"
        # created here: Tune pickles its callbacks, but a console cannot be pickled
        Console(soft_wrap=True).print(f"{head} {line}")


class _Silent(tune.ProgressReporter):
    """Report nothing, since ``Lines`` does."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: Any) -> None:
        return


def trial_needs(gpus_per_trial: float | None, device: str) -> dict[str, float]:
    """The resources that Ray reserves for a trial, on the Ray cluster that this process has joined.

    Args:
        gpus_per_trial: share of a GPU; None takes a quarter if the cluster has a GPU and the device allows it.

    Raises:
        BackendError: no node has the resources of a trial.
    """
    allowed = device != "cpu" and has_node_with({"cpu": 1, "gpu": gpus_per_trial or GPUS_PER_TRIAL})
    if (gpus_per_trial or device.startswith("cuda")) and not allowed:
        option = f"--gpus-per-trial {gpus_per_trial:g}" if gpus_per_trial else f"--device {device}"
        raise BackendError(
            f"{option}: no node of this Ray cluster has a CPU and that share of a GPU; leave it out to use CPUs"
        )
    if not has_node_with({"cpu": 1}):
        raise BackendError("no node of this Ray cluster has a CPU for a trial; add a node with a CPU")
    return {"cpu": 1.0, "gpu": gpus_per_trial or GPUS_PER_TRIAL} if allowed else {"cpu": 1.0}


def run_trials(
    definition: Definition, root: Path, execution: Execution, needs: dict[str, float], max_concurrent: int | None
) -> list[TrialResult]:
    """Run all unfinished trials, with ``trial_needs`` each, on the Ray cluster that this process has joined."""
    parametrised = tune.with_parameters(
        SignedTransferTrial, definition=definition, root=str(root), execution=execution, share=needs.get("gpu", 0.0)
    )
    trainable = tune.with_resources(parametrised, needs)
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
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # Lines reports failures, without tracebacks
    grid = tuner.fit()
    results = [_trial_result(definition, grid[index]) for index in range(len(grid))]
    return sorted(results, key=lambda trial: trial.number)


def _trial_result(definition: Definition, result: tune.Result) -> TrialResult:
    number = result.config["number"] if result.config else 0
    metrics = result.metrics or {}
    return TrialResult(
        number,
        definition.points[number - 1],
        tuple((depth, accuracy) for depth, accuracy in metrics.get("rungs", ())),
        bool(metrics.get("diverged")),
        _reason(result.error) if result.error else None,
    )


def _dirname(trial: Trial) -> str:
    return f"trial-{trial.config['number']:03d}"


def _reason(error: BaseException | None) -> str:
    """The last line of Ray's error, which is the trial's error."""
    prefix = f"{TrialError.__module__}.{TrialError.__name__}: "
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix(prefix) if lines else "no reason given"
