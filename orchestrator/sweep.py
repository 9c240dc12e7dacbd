"""``winning-sign sweep``: from names of data sets to a store of results and one HTML report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

import typer

from orchestrator.backends.base import BackendError
from orchestrator.driver.supervision import LEAST_LIMIT_S
from orchestrator.imports.reading import remarks, with_tickets
from orchestrator.imports.writing import import_tickets
from orchestrator.planning.algorithm import expand, planned_recipe
from orchestrator.planning.plan import Plan
from orchestrator.planning.rules import without_effect
from orchestrator.recipes.experiment_file import request_experiment
from orchestrator.recipes.experiments import Experiment, find_experiments
from orchestrator.recipes.layers import RecipeError
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.forecast import forecast
from orchestrator.session.faster import check_compiled, fast_line
from orchestrator.session.preparation import changed_data, prepare_data, showing_progress
from orchestrator.session.run import CachedStages, Placement, find_cached, holding_lease, run_plan
from orchestrator.session.until_shown import (
    at_last_look,
    check_looks,
    judge_store,
    run_until_shown,
    section,
    undecided,
)
from orchestrator.sinks.base import SinkError
from orchestrator.store import Store, StoreError
from orchestrator.terminal import arguments
from orchestrator.terminal.help import ListingCommand
from orchestrator.terminal.options import (
    ComparisonOptions,
    ExecutionOptions,
    ExperimentName,
    OutputOptions,
    PlacementOptions,
)
from orchestrator.terminal.plan_table import (
    plan_as_json,
    print_chains_needed,
    print_forecast,
    print_plan,
    recipe_as_yaml,
)
from orchestrator.terminal.units import parse_budget
from workers.attempts.provenance import machine
from workers.data import DataError
from workers.plugins import PluginError
from workers.stages.execution import Execution
from workers.stages.kinds import width
from workers.terminal.command import add_command, new_app, one_sentence
from workers.terminal.console import Console

EXAMPLES = """
winning-sign sweep --datasets mnist1d --seeds 3
winning-sign sweep figure2 --data-root ~/data
winning-sign sweep --datasets cifar10 --archs resnet20 --data-root ~/data --plan
winning-sign sweep --datasets cifar100 --seeds 3 --methods aws --set optimizer.learning_rate=0.05
winning-sign sweep --datasets cifar100 --until-shown --max-chains 12 --budget 200USD --price 0.9
winning-sign sweep --datasets cifar10 --data-root ~/data --log-to tensorboard
winning-sign sweep --datasets cifar100 --archs resnet20 --tickets theirs.parquet,sweeps_of_cifar10 --data-root ~/data
winning-sign sweep --datasets cifar100,cifar10 --address 10.0.0.1:6379 --store /mnt/shared/sweeps
winning-sign sweep --datasets imagenet --data-root /data --address auto --device cuda --store s3://bucket/sweeps
"""
REFUSALS = (RecipeError, DataError, StoreError, BackendError, PluginError, SinkError, OSError)
app = new_app()


@add_command(app, EXAMPLES, cls=ListingCommand)
def sweep(
    *,
    experiment: ExperimentName = None,
    comparison: ComparisonOptions,
    placement: PlacementOptions,
    execution: ExecutionOptions,
    output: OutputOptions,
) -> None:
    """Compare pruning methods and write one HTML report.

    A sweep trains a dense network, prunes it round by round, trains each ticket from several starts (retrain, signed
    transfer, mask transfer) and probes the error barriers between the solutions. Nothing in the store is computed
    twice: the same command continues an interrupted sweep, and more seeds, rounds or chains extend a finished one.
    Ctrl-C checkpoints and stops; a second Ctrl-C stops at once.
    """
    console = Console(soft_wrap=False)
    with one_sentence(*REFUSALS):
        placement = arguments.check_sweep(placement, output)
        how = arguments.checked_execution(placement.backend, execution)
        arguments.check_experiment(experiment)
        flags = arguments.sweep_flags(comparison, placement)
        # plugins' functions may print, and stdout may be read by a program
        with redirect_stdout(sys.stderr), showing_progress(console) as show:
            request = request_experiment(experiment, flags, smoke=comparison.smoke)
            experiments = find_experiments(request, how, show, every_byte=comparison.hash_all_data)
        if comparison.until_shown:
            check_looks(experiments)
        store = arguments.check_store(Store(output.store))
        if request.tickets:
            experiments = with_tickets(experiments, request.tickets, store)
        if output.yaml_:
            typer.echo(recipe_as_yaml(experiments), nl=False)
            return
        if output.plan:
            most = list(map(at_last_look, experiments)) if comparison.until_shown else experiments
            show_plan(expand(most), most, store, how, placement, output, console)
            return
        budget_s = parse_budget(placement.budget, output.price) if placement.budget else None
        look_by_look = comparison.until_shown
        # a look holds only the parts that are not decided; what the others took was spent too
        budgeted = expand(map(at_last_look, experiments)) if look_by_look and budget_s else None

        def compute(some: list[Experiment]) -> int:
            return run(expand(some), some, store, how, placement, console, budget_s, budgeted, output.log_to or ())

        code = run_until_shown(experiments, store, compute, console) if look_by_look else compute(experiments)
    raise typer.Exit(code)


def show_plan(
    plan: Plan,
    experiments: list[Experiment],
    store: Store,
    execution: Execution,
    placement: PlacementOptions,
    output: OutputOptions,
    console: Console,
) -> None:
    """Print the stages that would run, with the hours and the cost as far as durations were measured."""
    cache = find_cached(plan, store)
    cached = set(cache.keys)
    # the devices of a cluster are unknown here: take the kind with the most measurements
    device = None if placement.address else machine(execution)["device"]
    planned = dict.fromkeys(f"{each.recipe.dataset}/{each.recipe.arch}" for each in experiments)
    stated = arguments.parse_epoch_seconds(output.epoch_seconds, planned)
    estimates = Estimates(cache.records.values(), device, stated)
    devices = output.devices or arguments.available_devices(placement, execution)
    prediction = forecast(plan, cached, estimates, devices, output.price)
    changed = changed_data(experiments, cache.records.values(), execution)
    needed = []
    for more in undecided(experiments, judge_store(store) if cached else {}):
        larger = expand([more])
        done = set(find_cached(larger, store).keys)
        needed.append((more, forecast(larger, done, estimates, devices, output.price)))
    if output.json_:
        print(plan_as_json(plan, experiments, cached, prediction, changed, needed))
        return
    print_plan(console, plan, experiments, cached, changed)
    print_forecast(console, prediction)
    if placement.address is None:
        say_fast(console, plan, experiments, cache, execution)
    for more, further in needed:
        print_chains_needed(console, " · ".join(section(more)), more.recipe.chains, further)


def say_fast(
    console: Console,
    plan: Plan,
    experiments: Sequence[Experiment],
    cache: CachedStages,
    execution: Execution,
) -> None:
    """Print the line about ``--fast``, if this machine would gain by it."""
    line = fast_line(experiments, plan, set(cache.keys), cache.records, execution)
    if line is not None:
        console.print(line, soft_wrap=True)


def run(
    plan: Plan,
    experiments: list[Experiment],
    store: Store,
    execution: Execution,
    options: PlacementOptions,
    console: Console,
    budget_device_s: float | None = None,
    budgeted: Plan | None = None,
    log_to: Sequence[str] = (),
) -> int:
    """Compute every stage that is not cached, and return the exit code."""
    with holding_lease(store) as lease:  # before the store is read: gc waits for lease holders
        cache = find_cached(plan, store)
        done = set(cache.keys)
        ranks = max((width(node.stage) for node in plan if node.key not in done), default=1)
        _check_ranks(ranks, options)
        if options.address is None:  # a cluster's machines are checked when their stages start
            check_compiled(plan, done, execution.torch_device)
            if not done:  # later, other keys would begin the sweep anew
                say_fast(console, plan, experiments, cache, execution)
        for sentence in changed_data(experiments, cache.records.values(), execution).values():
            console.print(sentence, soft_wrap=True)
        for experiment in experiments:
            for sentence in (*without_effect(experiment.recipe), *remarks(experiment)):
                console.print(sentence, soft_wrap=True)
        prepare_data(experiments, execution, console)
        copied = import_tickets(plan, experiments, store, lease.driver)
        for name in copied:
            console.print(f"copied   {name}")
        cache = find_cached(plan, store) if copied else cache
        plan.recipes = [planned_recipe(experiment, list(remarks(experiment))) for experiment in experiments]
        placement = Placement(
            execution,
            options.backend,
            options.address,
            options.scale_to,
            options.max_concurrent,
            options.pack,
            options.hang_limit or LEAST_LIMIT_S,
            ranks,
            budget_device_s,
            budgeted,
        )
        return run_plan(plan, cache, store, lease, placement, console, log_to)


def _check_ranks(ranks: int, options: PlacementOptions) -> None:
    """Raise BackendError if a gang of this size can never start."""
    if options.backend == "inline" and ranks > 1:
        raise BackendError(f"--gpus-per-stage {ranks}: --backend inline is one process; leave one of them out")
    if options.scale_to and ranks > options.scale_to:
        raise BackendError(
            f"--gpus-per-stage {ranks}: --scale-to {options.scale_to} allows fewer GPUs, so no such stage could start; "
            f"give at least --scale-to {ranks}"
        )


if __name__ == "__main__":
    app()
