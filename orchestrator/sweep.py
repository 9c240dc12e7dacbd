"""``python -m orchestrator.sweep``: from names of data sets to a store of results and one HTML report."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.arguments import (
    absolute_plugin,
    check_device,
    check_folder,
    devices_at_hand,
    parse_rounds,
    split_names,
)
from orchestrator.backends.base import Backend, BackendError
from orchestrator.backends.inline import InlineBackend
from orchestrator.collection import made_anew
from orchestrator.driver import Driver, StopRequest
from orchestrator.estimate import Estimates
from orchestrator.experiments import find_experiments
from orchestrator.forecast import forecast
from orchestrator.gangs import width
from orchestrator.heartbeat import LEAST_LIMIT_S
from orchestrator.leases import HeldLease
from orchestrator.live_report import LiveReport
from orchestrator.packing import Packing
from orchestrator.patience import Patience
from orchestrator.plan import Plan, expand
from orchestrator.preparation import prepare_data
from orchestrator.progress import Progress
from orchestrator.queue import ReadyQueue
from orchestrator.rank import upward_rank
from orchestrator.recipes import RecipeError, parse_setting, read_recipe_file, unknown
from orchestrator.store import Store, StoreError
from orchestrator.terminal import plan_as_json, print_forecast, print_plan, print_summary
from tickets import TRANSFERS
from workers.attempt import machine
from workers.data import DataError, data_set_names, default_cache
from workers.execution import Execution
from workers.models import ARCHITECTURES
from workers.options import CudaGraphs, Deterministic, LoaderWorkers
from workers.plugins import PluginError, load_plugins
from workers.storage import StorageError

REPORT_INTERVAL_S = 60.0
RAY_JOB_MARK = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the process that a job runs, and for no other
EXAMPLES = """
Examples:

  python -m orchestrator.sweep --datasets mnist1d --seeds 3

  python -m orchestrator.sweep --datasets cifar10 --archs resnet20 --data-root ~/data --plan

  python -m orchestrator.sweep --datasets cifar100 --seeds 3 --methods aws --set optimizer.learning_rate=0.05

  python -m orchestrator.sweep --datasets cifar100,cifar10 --address 10.0.0.1:6379 --store /mnt/shared/sweeps

  python -m orchestrator.sweep --datasets imagenet --address auto --device cuda \\
    --max-concurrent 8 --store s3://bucket/sweeps
"""
ASKABLE = TRANSFERS.keys() - {"dense", "retrain"}  # those two are part of every sweep


def _listed(known: Iterable[str]) -> str:
    return ", ".join(sorted(known))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(epilog=EXAMPLES)
def sweep(
    datasets: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help=f"Data sets, separated by commas: {_listed(data_set_names())}.", show_default=False
        ),
    ],
    seeds: Annotated[
        int | None, typer.Option(help="Transfer seeds, and dense trainings: 1 to N. Default: the preset's.")
    ] = None,
    archs: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help=f"Architectures: {_listed(ARCHITECTURES)}. Default: the data set's own."),
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAMES", help="Pruning methods. Default: aws,lrr.")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Pruning rounds; each keeps 80 % of the weights. Default: the recipe's.")
    ] = None,
    transfers: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help=f"Starts from each ticket: {_listed(ASKABLE)}. Default: signed,mask."),
    ] = None,
    probe_rounds: Annotated[
        str | None, typer.Option(metavar="ROUNDS", help='Rounds to probe, such as 8,12 or "all".')
    ] = None,
    chains: Annotated[
        int | None,
        typer.Option(help="Independent pruning chains per method: only these say something of another ticket."),
    ] = None,
    preset: Annotated[str, typer.Option(help="sound, or reference: the released code's protocol.")] = "sound",
    store: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|URL",
            help="For all results; a repeated command goes on there. A folder that all machines see, or "
            "s3://bucket/path, or gs://bucket/path.",
        ),
    ] = "sweeps",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe; repeatable.")
    ] = None,
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
    data_root: Annotated[Path | None, typer.Option(help="Folder with your data sets.")] = None,
    data_cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded data sets. Default: ~/.cache/winning-sign.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|MODULE", help="Python with your data sets and architectures; repeatable."),
    ] = None,
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
    checkpoint_interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Time between checkpoints inside a training.")
    ] = 60.0,
    hang_limit: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=1, help="A stage that is silent for so long, and 20 of its steps, hangs."),
    ] = LEAST_LIMIT_S,
) -> None:
    """Run everything that a comparison of pruning methods needs, and write one HTML barrier report.

    Dense pretraining, pruning rounds, retrains, transfers to random initialisations and connectivity probes are
    stages of one graph. What is in the store is never computed again: repeat the command to go on after an
    interruption, or with more seeds, rounds or chains to extend it. Ctrl-C stops cleanly; twice stops at once.
    """
    console = Console(soft_wrap=False)
    try:
        if preset not in ("sound", "reference"):
            raise RecipeError(unknown("preset", preset, ("sound", "reference")))
        if backend not in ("ray", "inline"):
            raise RecipeError(unknown("backend", backend, ("ray", "inline")))
        if backend == "inline" and address:
            raise RecipeError("--address names a Ray cluster, and --backend inline runs without Ray; give one of them")
        if backend == "ray":
            address = address or _cluster_of_this_job()
        if scale_to and not address:
            raise RecipeError(
                "--scale-to needs a cluster with an autoscaler; name it with --address, or run as a Ray job"
            )
        if json_ and not plan:
            raise RecipeError("--json prints a plan; give --plan with it")
        if not plan and (devices or price is not None):
            raise RecipeError("--devices and --price belong to a plan; give --plan with them")
        execution = Execution(
            device=check_device(device, backend),
            data_root=str(check_folder(data_root)) if data_root else None,
            data_cache=str((data_cache or default_cache()).absolute()),
            checkpoint_interval_s=checkpoint_interval,
            plugins=tuple(absolute_plugin(name) for name in plugin or ()),
            loader_workers=loader_workers,
            cuda_graphs=cuda_graphs,
            deterministic=deterministic,
        )
        load_plugins(execution.plugins)
        flags = {
            "seeds": seeds,
            "rounds": rounds,
            "chains": chains,
            "gpus_per_stage": gpus_per_stage,
            "methods": split_names(methods),
            "transfers": split_names(transfers),
            "probe_rounds": parse_rounds(probe_rounds),
        }
        changes = [
            *([read_recipe_file(recipe)] if recipe else []),
            *(parse_setting(text) for text in set_ or ()),
            {name: value for name, value in flags.items() if value is not None},
        ]
        experiments = find_experiments(split_names(datasets) or [], split_names(archs), preset, changes, execution)
        expanded = expand(experiments)
        opened = Store(store)
        damaged: dict[str, str] = {}
        records = opened.records(damaged)
        damaged |= {key: what for key in records if key in expanded.nodes and (what := opened.damage(key))}
        collected = opened.collected()
        lacking = [node.key for node in expanded if node.key not in records or node.key in damaged]
        again = made_anew({node.key: node.inputs.values() for node in expanded}, lacking, collected)
        cached = [key for key in expanded.nodes if key in records and key not in damaged and key not in again]
        if plan:
            # a cluster's devices are not known here: the ones that most was measured on
            estimates = Estimates(records.values(), None if address else machine(execution)["device"])
            at_hand = devices or devices_at_hand(backend, address, max_concurrent, execution)
            foreseen = forecast(expanded, set(cached), estimates, at_hand, price)
            if json_:
                print(plan_as_json(expanded, experiments, set(cached), foreseen))
            else:
                print_plan(console, expanded, experiments, set(cached))
                print_forecast(console, foreseen)
            return
        ranks = max((width(node.stage) for node in expanded if node.key not in cached), default=1)
        if backend == "inline" and ranks > 1:
            raise BackendError(f"--gpus-per-stage {ranks}: --backend inline is one process; leave one of them out")
        opened.open_for_writing()
        try:
            prepare_data(experiments, execution, console)
            for key, what in damaged.items():
                opened.set_aside(key, "damaged")
                console.print(f"{what}: set aside, and made anew if this sweep needs it", highlight=False, markup=False)
            for key in again:
                opened.set_aside(key, "collected")
            if again:
                console.print(
                    f"{len(again)} stages are made anew: orchestrator.gc took files that this sweep needs",
                    highlight=False,
                )
            options = _Options(backend, address, scale_to, max_concurrent, pack, hang_limit, ranks)
            code = _run(console, expanded, cached, opened, execution, options)
        except (DataError, RecipeError, BackendError):
            opened.discard_if_unused()
            raise
    except (RecipeError, DataError, StoreError, StorageError, BackendError, PluginError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from None
    raise typer.Exit(code)


@dataclass(frozen=True)
class _Options:
    """Where and how densely stages run.

    Attributes:
        ranks: of the largest gang.
    """

    backend: str
    address: str | None
    scale_to: int | None
    max_concurrent: int | None
    pack: int | None
    hang_limit_s: float
    ranks: int


def _run(console: Console, plan: Plan, cached: list[str], store: Store, execution: Execution, options: _Options) -> int:
    """Run what is not cached; the exit code."""
    report = LiveReport(store)
    planned = plan.stored(sys.argv, time.time())
    patience = Patience(lambda text: console.print(text, highlight=False, markup=False))
    if len(cached) == len(plan):
        patience(lambda: store.write_plan(planned))
        console.print(f"Nothing to compute: all {len(plan)} stages are in {store.root}.", highlight=False)
        report.write()
        console.print(f"Report: {report.path}", highlight=False, soft_wrap=True)
        return 0
    rank = upward_rank(plan)
    records = store.records({})
    queue = ReadyQueue(plan, Estimates(records.values()).rank(plan), cached)
    console.print(
        f"{len(plan)} stages, {len(cached)} of them in {store.root} already; report: {report.path}",
        highlight=False,
        soft_wrap=True,
    )
    if options.scale_to:
        console.print(f"Waiting for the first of up to {options.scale_to} devices.", highlight=False)
    workers = _start_backend(options, execution)
    if options.pack and workers.device_bytes is None:
        workers.close()
        raise BackendError(f"--pack {options.pack}: stages share GPUs, and they would run on CPUs here; leave it out")
    packing = Packing(workers.device_bytes, options.pack)
    for record in records.values():
        packing.observe(record)
    patience(lambda: store.write_plan(planned))
    report.refresh()
    progress = Progress(console, plan, queue, rank, lambda: max(1, workers.devices // options.ranks) * packing.level)
    lease = patience(lambda: HeldLease(store.storage, sys.argv))
    stop = StopRequest(store, lease)
    previous = _on_signals(stop, progress, console)
    try:
        with progress:
            driver = Driver(
                plan,
                queue,
                store,
                workers,
                execution,
                progress,
                stop,
                packing,
                lease,
                options.max_concurrent,
                options.hang_limit_s,
            )
            summary = driver.run(report.refresh, REPORT_INTERVAL_S)
    except BaseException:
        stop.ask()  # what still runs in this process checkpoints, instead of being waited for
        raise
    finally:
        workers.close()
        lease.release()
        for number, handler in previous.items():
            signal.signal(number, handler)
    patience(lambda: store.records({}))
    patience(store.write_index)
    patience(report.write)
    print_summary(console, store, summary)
    console.print(f"Report: {report.path}", highlight=False, soft_wrap=True)
    if lease.lost:
        console.print("Another sweep took this one's work over, because it had been silent for long; it goes on there.")
    elif summary.exit_code == 130:
        console.print("Interrupted; the same command goes on from here.")
    return summary.exit_code


def _cluster_of_this_job() -> str | None:
    """Where `ray job submit` runs this process; None outside of a job, where RAY_ADDRESS alone is no wish to join."""
    return os.environ.get("RAY_ADDRESS") if RAY_JOB_MARK in os.environ else None


def _start_backend(options: _Options, execution: Execution) -> Backend:
    if options.backend == "inline":
        return InlineBackend(execution.torch_device)
    if options.address is None:
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray reads it when it is imported
    try:
        from orchestrator.backends.ray_tasks import RayBackend  # here: the inline backend must do without Ray
    except ImportError as error:
        raise BackendError(f"--backend ray: {error}; install ray[tune,train], or give --backend inline") from error
    return RayBackend(options.address, options.max_concurrent, execution.device, options.scale_to, options.ranks)


def _on_signals(stop: StopRequest, progress: Progress, console: Console) -> Mapping[int, Any]:
    """Once: stop cleanly. Twice: exit now; what was running resumes from its last checkpoint."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            progress.__exit__(None, None, None)
            console.show_cursor()
            os._exit(128 + number)
        stop.ask()
        progress.notice("Stopping: running stages checkpoint, nothing new starts. Once more to exit at once.")

    return {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
