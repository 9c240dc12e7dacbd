"""``python -m orchestrator.sweep``: from names of data sets to a store of results and one HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.backends.base import BackendError
from orchestrator.driver.heartbeat import LEAST_LIMIT_S
from orchestrator.planning.algorithm import expand
from orchestrator.recipes import RecipeError, unknown, user_layers
from orchestrator.recipes.experiment_file import Flags, request_experiment
from orchestrator.recipes.experiments import find_experiments
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.forecast import forecast
from orchestrator.session.cache import find_cached
from orchestrator.session.preparation import prepare_data
from orchestrator.session.run import Placement, holding_lease, quarantine, run_plan
from orchestrator.store import Store, StoreError
from orchestrator.terminal.arguments import (
    check_store,
    checked_execution,
    cluster_of_this_job,
    devices_at_hand,
    parse_rounds,
    split_names,
)
from orchestrator.terminal.help import ListingCommand
from orchestrator.terminal.options import CheckpointInterval, Device, Plugins, Settings
from orchestrator.terminal.plan_table import plan_as_json, print_forecast, print_plan
from workers.attempts.attempt import machine
from workers.data import DataError
from workers.plugins import PluginError
from workers.stages.kinds import width
from workers.storage import StorageError
from workers.terminal.console import Console
from workers.terminal.options import CudaGraphs, DataCache, DataRoot, Deterministic, LoaderWorkers

EXAMPLES = """
Examples:

  python -m orchestrator.sweep --datasets mnist1d --seeds 3

  python -m orchestrator.sweep experiments/figure2.yaml --data-root ~/data

  python -m orchestrator.sweep --datasets cifar10 --archs resnet20 --data-root ~/data --plan

  python -m orchestrator.sweep --datasets cifar100 --seeds 3 --methods aws --set optimizer.learning_rate=0.05

  python -m orchestrator.sweep --datasets cifar100,cifar10 --address 10.0.0.1:6379 --store /mnt/shared/sweeps

  python -m orchestrator.sweep --datasets imagenet --address auto --device cuda \\
    --max-concurrent 8 --store s3://bucket/sweeps
"""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(cls=ListingCommand, epilog=EXAMPLES)
def sweep(
    experiment: Annotated[
        Path | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help="A sweep in a YAML file, such as experiments/figure2.yaml; options below change it.",
            show_default=False,
        ),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Data sets, separated by commas: {datasets}.", show_default=False),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="The experiment's smoke variant, which takes seconds.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Transfer seeds, and dense trainings: 1 to N. Default: the preset's.")
    ] = None,
    archs: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Architectures: {archs}. Default: the data set's own."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Pruning methods: {methods}; and a recipe's own_methods, by any criterion: {criteria}. Default: "
            "aws,lrr.",
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Pruning rounds; each keeps 80 % of the weights. Default: the recipe's.")
    ] = None,
    transfers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Starts from each ticket: {transfers}; and a recipe's own_transfers. Default: signed,mask.",
        ),
    ] = None,
    probe_rounds: Annotated[
        str | None, typer.Option(metavar="ROUNDS", help='Rounds to probe, such as 8,12 or "all".')
    ] = None,
    probes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="What else each probed pair is measured for: {probes}. Default: nothing."),
    ] = None,
    chains: Annotated[
        int | None,
        typer.Option(help="Independent pruning chains per method: only these say something of another ticket."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="sound, or reference: the released code's protocol. Default: sound.")
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|URL",
            help="For all results; a repeated command goes on there. A folder that all machines see, or "
            "s3://bucket/path, or gs://bucket/path.",
        ),
    ] = "sweeps",
    set_: Settings = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with recipe fields.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be run, and touch nothing.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="With --plan: as JSON.")] = False,
    devices: Annotated[
        int | None, typer.Option(min=1, help="With --plan: foresee so many GPUs or cores. Default: this machine's.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="With --plan: of a device for an hour; prints the cost.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="ray, or inline: in this process without Ray, one stage at a time on a CPU.")
    ] = "ray",
    address: Annotated[
        str | None,
        typer.Option(
            help="A Ray cluster to join. Default: in a Ray job its own cluster, else a private Ray on this machine."
        ),
    ] = None,
    scale_to: Annotated[
        int | None,
        typer.Option(
            min=1, help="GPUs (with --device cpu: CPUs) that the cluster's autoscaler may start for this sweep."
        ),
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="At most so many stages at a time.")] = None,
    data_root: DataRoot = None,
    data_cache: DataCache = None,
    device: Device = "auto",
    plugin: Plugins = None,
    gpus_per_stage: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs (or CPU cores) that train one network together. Default: the recipe's, 1."),
    ] = None,
    pack: Annotated[
        int | None,
        typer.Option(min=1, max=32, help="Stages that share a GPU. Default: as many as pay, found by measuring."),
    ] = None,
    loader_workers: LoaderWorkers = None,
    deterministic: Deterministic = True,
    cuda_graphs: CudaGraphs = True,
    checkpoint_interval: CheckpointInterval = 60.0,
    hang_limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="A stage that is silent for so long, and 20 of its steps, hangs; at its start, six times that.",
        ),
    ] = LEAST_LIMIT_S,
) -> None:
    """Run everything that a comparison of pruning methods needs, and write one HTML barrier report.

    Dense pretraining, pruning rounds, retrains, transfers to random initialisations and connectivity probes are
    stages of one graph. What is in the store is never computed again: repeat the command to go on after an
    interruption, or with more seeds, rounds or chains to extend it. Ctrl-C stops cleanly; twice stops at once.
    """
    console = Console(soft_wrap=False)
    try:
        if backend not in ("ray", "inline"):
            raise RecipeError(unknown("backend", backend, ("ray", "inline")))
        if backend == "inline" and address:
            raise RecipeError("--address names a Ray cluster, and --backend inline runs without Ray; give one of them")
        if backend == "ray":
            address = address or cluster_of_this_job()
        if scale_to and not address:
            raise RecipeError(
                "--scale-to needs a cluster with an autoscaler; name it with --address, or run as a Ray job"
            )
        if json_ and not plan:
            raise RecipeError("--json prints a plan; give --plan with it")
        if not plan and (devices or price is not None):
            raise RecipeError("--devices and --price belong to a plan; give --plan with them")
        execution = checked_execution(
            backend,
            device,
            data_root,
            data_cache,
            plugin,
            checkpoint_interval,
            loader_workers,
            deterministic,
            cuda_graphs,
        )
        options = {
            "seeds": seeds,
            "rounds": rounds,
            "chains": chains,
            "gpus_per_stage": gpus_per_stage,
            "methods": split_names(methods),
            "transfers": split_names(transfers),
            "probe_rounds": parse_rounds(probe_rounds),
            "probes": split_names(probes),
        }
        flags = Flags(split_names(datasets), split_names(archs), preset, user_layers(recipe, set_ or (), options))
        experiments = find_experiments(request_experiment(experiment, flags, smoke=smoke), execution)
        expanded = expand(experiments)
        opened = check_store(Store(store))
        if plan:
            cached = find_cached(expanded, opened)
            # what kind a cluster's devices are is not known here: the one that most was measured on
            estimates = Estimates(cached.records.values(), None if address else machine(execution)["device"])
            at_hand = devices or devices_at_hand(backend, address, scale_to, max_concurrent, execution)
            foreseen = forecast(expanded, set(cached.keys), estimates, at_hand, price)
            if json_:
                print(plan_as_json(expanded, experiments, set(cached.keys), foreseen))
            else:
                print_plan(console, expanded, experiments, set(cached.keys))
                print_forecast(console, foreseen)
            return
        with holding_lease(opened) as lease:  # before the store is read: gc waits for lease holders
            cached = find_cached(expanded, opened)
            ranks = max((width(node.stage) for node in expanded if node.key not in cached.keys), default=1)
            if backend == "inline" and ranks > 1:
                raise BackendError(f"--gpus-per-stage {ranks}: --backend inline is one process; leave one of them out")
            if scale_to and ranks > scale_to:
                raise BackendError(
                    f"--gpus-per-stage {ranks}: --scale-to {scale_to} allows for fewer, so that none could ever start; "
                    f"give at least --scale-to {ranks}"
                )
            prepare_data(experiments, execution, console)
            quarantine(opened, cached, console)
            placement = Placement(execution, backend, address, scale_to, max_concurrent, pack, hang_limit, ranks)
            code = run_plan(expanded, cached, opened, lease, placement, console)
    except (RecipeError, DataError, StoreError, StorageError, BackendError, PluginError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from None
    raise typer.Exit(code)


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
