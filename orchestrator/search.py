"""``python -m orchestrator.search``: tunes a recipe for a data set and architecture, and writes it as a file."""

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
from rich.markup import escape

from orchestrator.backends.base import BackendError
from orchestrator.recipes import RecipeError, unknown, user_layers
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import find_experiments
from orchestrator.session.preparation import prepare_data
from orchestrator.store import Store, StoreError
from orchestrator.terminal.arguments import checked_execution
from orchestrator.terminal.help import ListingCommand
from orchestrator.terminal.options import CheckpointInterval, Device, Plugins, Settings
from orchestrator.tuning.definition import Definition, check_searchable, define, winning_layer
from orchestrator.tuning.outcome import (
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
from workers.terminal.console import Console
from workers.terminal.options import CudaGraphs, DataCache, DataRoot, Deterministic, LoaderWorkers

EXAMPLES = """
Examples:

  python -m orchestrator.search --dataset mnist1d --trials 16

  python -m orchestrator.search --dataset cifar10 --arch resnet20 --data-root ~/data --rounds 6 --final-epochs 20

  python -m orchestrator.search --dataset mnist1d --space optimizer.learning_rate=0.01..0.3 --space prune_fraction=0.2

  python -m orchestrator.search --plugin mine.py --dataset mine --space "alpha=uniform(0,1)|beta(2,1..5)"
"""

LOCK = ".search.lock"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(cls=ListingCommand, epilog=EXAMPLES)
def search(
    dataset: Annotated[str, typer.Option(metavar="NAME", help="Data set: {datasets}.", show_default=False)],
    arch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Architecture: {archs}. Default: the data set's own.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset that holds out validation images.")] = "sound",
    trials: Annotated[int, typer.Option(min=2, help="Recipes to try; the first is the one you start from.")] = 16,
    rounds: Annotated[
        int, typer.Option(min=1, help="Pruning rounds of the shortened chain, at the recipe's own prune fraction.")
    ] = 4,
    final_epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of the signed transfer's training. Default: those of a round.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=LOW..HIGH", help=f"Narrow what is searched: {', '.join(SEARCHABLE)}; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the trials.")] = 0,
    store: Annotated[Path, typer.Option(help="Folder for this search; a repeated command goes on there.")] = Path(
        "search"
    ),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The best recipe. Default: recipe.yaml in the store.")
    ] = None,
    set_: Settings = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with recipe fields to start from.")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster to join. Default: a private Ray on this machine.")
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="At most so many trials at a time.")] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            help="Share of a GPU for each trial, up to 1. Default: the recipe's, or 0.25 of one that is there."
        ),
    ] = None,
    data_root: DataRoot = None,
    data_cache: DataCache = None,
    device: Device = "auto",
    plugin: Plugins = None,
    loader_workers: LoaderWorkers = None,
    deterministic: Deterministic = True,
    cuda_graphs: CudaGraphs = True,
    checkpoint_interval: CheckpointInterval = 60.0,
) -> None:
    """Tune learning rate, weight decay, prune fraction and alpha's distribution, and write the best as a recipe file.

    A trial runs pretraining, a short pruning chain and, on every rung, the final training of the signed transfer. Its
    validation accuracy is compared with that of other trials at the same density, and the worse half stops early. The
    test set is never read. Repeat the command to go on after an interruption.
    """
    console = Console(soft_wrap=True)
    try:
        if preset not in ("sound", "reference"):
            raise RecipeError(unknown("preset", preset, ("sound", "reference")))
        execution = checked_execution(
            "ray",
            device,
            data_root,
            data_cache,
            plugin,
            checkpoint_interval,
            loader_workers,
            deterministic,
            cuda_graphs,
        )
        changes = user_layers(recipe, set_ or (), {})
        run_only = user_layers(None, (), {"gpus_per_trial": gpus_per_trial})  # belongs in no winner's file
        request = ExperimentRequest((dataset,), (arch,) if arch else None, preset, (*changes, *run_only))
        (experiment,) = find_experiments(request, execution)
        share = experiment.recipe.gpus_per_trial
        if share is not None and device == "cpu":
            raise BackendError(f"--gpus-per-trial {share:g}: --device cpu keeps trials off the GPUs; leave one out")
        check_searchable(experiment.recipe)
        searched = narrowed(default_space(experiment.recipe), space or ())
        definition = define(experiment, searched, trials, rounds, final_epochs, seed)
        opened = Store(store)
        root = Path(opened.root)
        target = check_out(out or root / "recipe.yaml", root)
        check_same_search(root, definition)
        opened.open_for_writing()
        try:
            prepare_data([experiment], execution, console)
            with _alone(root):
                found = _run(console, definition, root, execution, address, max_concurrent, share)
        except (DataError, RecipeError, BackendError):
            opened.discard_if_unused()
            raise
    except (RecipeError, DataError, StoreError, BackendError, PluginError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on from here.")
        raise typer.Exit(130) from None
    raise typer.Exit(_conclude(console, definition, changes, found, target, execution))


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder against a second search; the operating system lets go when this process ends, however it does."""
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
    """Run what is left of the trials."""
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
            f"{definition.density:.3g}",
            highlight=False,
        )
        return run_trials(definition, root, execution, needs, max_concurrent)
    finally:
        disconnect()


def _conclude(
    console: Console,
    definition: Definition,
    changes: Sequence[Mapping[str, Any]],
    found: list[TrialResult],
    target: Path,
    execution: Execution,
) -> int:
    """Print the best trials and write the winner's recipe; the exit code."""
    print_best(console, found)
    best = winner(found)
    failed = [trial for trial in found if trial.error is not None]
    if best is None:
        Console(stderr=True, soft_wrap=True).print(
            f"[red]Error:[/red] no trial reached its end; {target} is not written"
        )
        return 1
    layer = winning_layer(definition.recipe, changes, best.point)
    write_atomically(target, recipe_text(definition, best, layer, sys.argv).encode())
    recipe = definition.recipe
    words = ["python", "-m", "orchestrator.sweep", "--datasets", recipe.dataset, "--archs", recipe.arch]
    words += ["--preset", recipe.preset, "--recipe", str(target)]
    words += [word for name in execution.plugins for word in ("--plugin", name)]
    words += ["--data-root", execution.data_root] if execution.data_root else []
    console.print(f"Recipe: {target}", highlight=False)
    console.print(f"Sweep:  {shlex.join(words)}", highlight=False, markup=False)
    if failed:
        console.print(f"{len(failed)} trials failed; the same command tries them again.", highlight=False)
    return 1 if failed else 0


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
