"""``winning-sign search``: tunes a recipe for a data set and architecture, and writes it as a file."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout

from orchestrator.backends.base import BackendError
from orchestrator.planning.algorithm import expand
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import check_rounds, find_experiments
from orchestrator.recipes.layers import RecipeError, user_layers
from orchestrator.session.faster import check_compiled
from orchestrator.session.preparation import prepare_data, showing_progress
from orchestrator.store import Store, StoreError
from orchestrator.terminal.arguments import check_address, checked_execution
from orchestrator.terminal.help import ListingCommand
from orchestrator.terminal.options import ExecutionOptions, Fast, HashAllData, MaxConcurrent, RecipeFile, Settings
from orchestrator.tuning.definition import Definition, check_searchable, define, winning_layer
from orchestrator.tuning.outcome import (
    DEFINITION,
    TrialResult,
    check_out,
    check_same_search,
    print_best,
    recipe_text,
    winner,
    write_definition,
)
from orchestrator.tuning.space import SEARCHABLE, default_space, narrowed
from tickets.files.writing import write_atomically
from workers.data import DataError
from workers.plugins import PluginError
from workers.stages.execution import Execution
from workers.terminal.command import add_command, new_app, one_sentence, print_error
from workers.terminal.console import Console
from workers.terminal.help import HOW_MUCH, OUTPUT, WHAT, WHERE
from workers.terminal.options import option

EXAMPLES = """
winning-sign search --dataset mnist1d --trials 16
winning-sign search --dataset cifar10 --arch resnet20 --data-root ~/data --rounds 6 --final-epochs 20
winning-sign search --dataset mnist1d --space optimizer.learning_rate=0.01..0.3 --space prune_fraction=0.2
winning-sign search --plugin mine.py --dataset mine --space "alpha=uniform(0,1)|beta(2,1..5)"
"""

LOCK = ".search.lock"
app = new_app()


@add_command(app, EXAMPLES, cls=ListingCommand)
def search(
    *,
    dataset: Annotated[
        str,
        option(WHAT, "Data set: one of {datasets}.", "--dataset", "--datasets", metavar="NAME"),
    ],
    arch: Annotated[
        str | None,
        option(WHAT, "Architecture: one of {archs}. Default: the data set's own.", "--arch", "--archs", metavar="NAME"),
    ] = None,
    space: Annotated[
        list[str] | None,
        option(
            WHAT, f"Narrow the search space of one of {', '.join(SEARCHABLE)}; repeatable.", metavar="KEY=LOW..HIGH"
        ),
    ] = None,
    preset: Annotated[str, option(WHAT, "A preset with a validation split, such as sound.")] = "sound",
    recipe: RecipeFile = None,
    set_: Settings = None,
    fast: Fast = False,
    hash_all_data: HashAllData = False,
    trials: Annotated[
        int, option(HOW_MUCH, "Recipes to try; the first is the unchanged recipe.", metavar="N", min=2, max=10_000)
    ] = 16,
    rounds: Annotated[
        int,
        option(HOW_MUCH, "Pruning rounds of the shortened chain, at the recipe's prune fraction.", metavar="N", min=1),
    ] = 4,
    final_epochs: Annotated[
        int | None,
        option(
            HOW_MUCH,
            "Epochs of the final training of the signed transfer. Default: those of a round.",
            metavar="N",
            min=1,
        ),
    ] = None,
    seed: Annotated[int, option(HOW_MUCH, "Seed that draws the trials.")] = 0,
    address: Annotated[
        str | None, option(WHERE, "Ray cluster to join. Default: a private Ray on this machine.")
    ] = None,
    max_concurrent: MaxConcurrent = None,
    gpus_per_trial: Annotated[
        float | None,
        option(
            WHERE,
            "Share of a GPU for each trial, up to 1. Default: the recipe's, else 0.25 where there are GPUs.",
            metavar="SHARE",
        ),
    ] = None,
    execution: ExecutionOptions,
    store: Annotated[
        Path, option(OUTPUT, "Folder for this search. The same command continues it.", metavar="STORE")
    ] = Path("search"),
    out: Annotated[
        Path | None, option(OUTPUT, "File for the best recipe. Default: recipe.yaml in STORE.", metavar="FILE")
    ] = None,
) -> None:
    """Tune a recipe for a data set and architecture.

    Searches learning rate, weight decay, prune fraction and the distribution of alpha, and writes the best recipe as a
    file for sweep --recipe. A trial trains a dense network, prunes it for a few rounds and trains the signed transfer
    at each rung. Trials compare validation accuracy at the same density, and the worse half stops early. The test set
    is never read.
    """
    console = Console(soft_wrap=True)
    with _interruptible(console), one_sentence(RecipeError, DataError, StoreError, BackendError, PluginError, OSError):
        address = None if address is None else check_address(address)
        how = checked_execution("ray", execution)
        changes = user_layers(recipe, set_ or (), {}, fast=fast)
        run_only = user_layers(None, (), {"gpus_per_trial": gpus_per_trial})  # belongs in no winner's file
        request = ExperimentRequest((dataset,), (arch,) if arch else None, preset, (*changes, *run_only))
        with showing_progress(console) as show:
            (experiment,) = find_experiments(request, how, show, every_byte=hash_all_data)
        share = experiment.recipe.gpus_per_trial
        if share is not None and how.device == "cpu":
            raise BackendError(f"--gpus-per-trial {share:g}: --device cpu keeps trials off the GPUs; leave one out")
        check_searchable(experiment.recipe)
        if experiment.network is not None:
            check_rounds(experiment.recipe, rounds, experiment.network.prunable_weights)
        searched = narrowed(default_space(experiment.recipe), space or ())
        definition = define(experiment, searched, trials, rounds, final_epochs, seed)
        opened = Store(store)
        root = Path(opened.root)
        target = check_out(out or root / "recipe.yaml", root)
        check_same_search(root, definition, Path(how.data_cache))
        if address is None:
            check_compiled(expand([definition.experiment(1)]), (), how.torch_device)
        opened.open_for_writing()
        try:
            prepare_data([experiment], how, console)
            with _alone(root):
                results = _run(console, definition, root, how, address, max_concurrent, share)
        except (DataError, RecipeError, BackendError):
            if not (root / DEFINITION).exists():
                (root / LOCK).unlink(missing_ok=True)
            opened.discard_if_unused()
            raise
    raise typer.Exit(_conclude(console, definition, changes, results, target, how, hash_all_data))


@contextmanager
def _interruptible(console: Console) -> Iterator[None]:
    """Exit with 130 after Ctrl-C, and say that the same command continues the search."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("Interrupted; the same command continues the search.")
        raise typer.Exit(130) from None


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Lock the folder against a second search; the operating system releases the lock when this process ends."""
    try:
        with FileLock(root / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise StoreError(f"{root}: another search is at work in this folder; wait for it") from error


def _run(
    console: Console,
    definition: Definition,
    root: Path,
    execution: Execution,
    address: str | None,
    max_concurrent: int | None,
    gpus_per_trial: float | None,
) -> list[TrialResult]:
    """Run the remaining trials."""
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray reads it when it is imported
    try:
        from orchestrator.backends.ray.cluster import connect, disconnect  # here: --help must not wait for Ray
        from orchestrator.tuning.tuner import run_trials, trial_needs
    except ImportError as error:
        raise BackendError(f"a search runs on Ray Tune: {error}; install ray[tune]") from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    connect(address, max_concurrent)
    try:
        needs = trial_needs(gpus_per_trial, execution.device)
        write_definition(root, definition)
        recipe = definition.recipe
        console.print(
            f"{recipe.dataset}/{recipe.arch}: {definition.trials} trials in {root}, each to density "
            f"{definition.density:.3g}"
        )
        return run_trials(definition, root, execution, needs, max_concurrent)
    finally:
        disconnect()


def _conclude(
    console: Console,
    definition: Definition,
    changes: Sequence[Mapping[str, Any]],
    results: list[TrialResult],
    target: Path,
    execution: Execution,
    hash_all_data: bool,
) -> int:
    """Print the best trials, write the winner's recipe, and return the exit code."""
    print_best(console, results)
    best = winner(results)
    failed = [trial for trial in results if trial.error is not None]
    if best is None:
        print_error(f"no trial finished, so {target} was not written; see the failures above")
        return 1
    layer = winning_layer(definition.recipe, changes, best.point)
    write_atomically(target, recipe_text(definition, best, layer, sys.argv).encode())
    recipe = definition.recipe
    words = ["winning-sign", "sweep", "--datasets", recipe.dataset, "--archs", recipe.arch]
    words += ["--preset", recipe.preset, "--recipe", str(target)]
    words += [word for name in execution.plugins for word in ("--plugin", name)]
    words += ["--data-root", execution.data_root] if execution.data_root else []
    words += ["--hash-all-data"] if hash_all_data else []
    console.print(f"Recipe: {target}")
    console.print(f"Sweep:  {shlex.join(words)}")
    if failed:
        console.print(f"{len(failed)} trials failed; the same command tries them again.")
    return 1 if failed else 0


if __name__ == "__main__":
    app()
