"""Options of the commands that run sweeps, searches and landscapes, in the groups that their help shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from workers.terminal.help import ADVANCED, HOW_MUCH, OUTPUT, WHAT, WHERE
from workers.terminal.options import StageOptions

ExperimentName = Annotated[
    Path | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A built-in experiment, such as figure2, or a YAML file; options change it.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a field of the recipe, such as optimizer.learning_rate=0.05; repeatable. docs/experiments.md "
        "lists the fields.",
        rich_help_panel=WHAT,
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file with recipe fields.", rich_help_panel=WHAT)
]
MaxConcurrent = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Run at most N stages or trials at a time.", rich_help_panel=WHERE),
]


@dataclass(frozen=True)
class ExecutionOptions(StageOptions):
    """How a command of the orchestrator computes stages."""

    checkpoint_interval: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Seconds between checkpoints within a training.", rich_help_panel=ADVANCED
        ),
    ] = 60.0


@dataclass(frozen=True)
class ComparisonOptions:
    """What a sweep compares, and how much of it."""

    datasets: Annotated[
        str | None,
        typer.Option(
            "--datasets",
            "--dataset",
            metavar="NAMES",
            help="Data sets, separated by commas: {datasets}.",
            rich_help_panel=WHAT,
        ),
    ] = None
    archs: Annotated[
        str | None,
        typer.Option(
            "--archs",
            "--arch",
            metavar="NAMES",
            help="Architectures: {archs}. Default: the data set's own.",
            rich_help_panel=WHAT,
        ),
    ] = None
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Pruning methods: {methods}, or a recipe's own_methods with one of the criteria {criteria}. Default: "
            "aws,lrr.",
            rich_help_panel=WHAT,
        ),
    ] = None
    transfers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Starts of the final trainings from each ticket: {transfers}, or a recipe's own_transfers. Default: "
            "signed,mask.",
            rich_help_panel=WHAT,
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            help="sound: choices use a validation split, and the test set is read once. reference: the protocol of the "
            "released code. Default: sound.",
            rich_help_panel=WHAT,
        ),
    ] = None
    recipe: RecipeFile = None
    set_: Settings = None
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Run the smoke variant of EXPERIMENT; it takes seconds.", rich_help_panel=WHAT),
    ] = False
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Final trainings per start and dense trainings, with seeds 1 to N. Default: the preset's.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    chains: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Independent pruning chains per method; confidence intervals are over chains, so give at least 2. "
            "Default: the recipe's.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Pruning rounds; each keeps 80 % of the weights. Default: the recipe's.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    probe_rounds: Annotated[
        str | None,
        typer.Option(
            metavar="ROUNDS",
            help='Rounds to probe for barriers, such as 8,12 or "all". Default: the recipe\'s.',
            rich_help_panel=HOW_MUCH,
        ),
    ] = None
    probes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Further measurements on each probed pair: {probes}. Default: none.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None


@dataclass(frozen=True)
class PlacementOptions:
    """Where the stages of a sweep run."""

    backend: Annotated[
        str,
        typer.Option(
            help="ray, or inline: one stage at a time in this process, without Ray.",
            rich_help_panel=WHERE,
        ),
    ] = "ray"
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to join. Default: in a Ray job its cluster, else a private Ray on this machine.",
            rich_help_panel=WHERE,
        ),
    ] = None
    scale_to: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="GPUs (with --device cpu: CPUs) that the cluster's autoscaler may start for this sweep.",
            rich_help_panel=WHERE,
        ),
    ] = None
    max_concurrent: MaxConcurrent = None
    gpus_per_stage: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="GPUs (or CPU cores) that train one network together. Default: the recipe's, 1.",
            rich_help_panel=WHERE,
        ),
    ] = None
    pack: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=32,
            help="Stages that share a GPU. Default: as many as raise the throughput, by measurement.",
            rich_help_panel=WHERE,
        ),
    ] = None
    hang_limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Seconds without progress before a stage counts as hung (at least 20 of its slowest steps; 6x during "
            "start-up). Default: 300.",
            rich_help_panel=ADVANCED,
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where the results of a sweep go, or what its plan shows."""

    store: Annotated[
        str,
        typer.Option(
            metavar="STORE",
            help="Folder or URL (s3://bucket/path, gs://bucket/path) for all results. On a cluster, every machine must "
            "see it. The same command continues an interrupted sweep.",
            rich_help_panel=OUTPUT,
        ),
    ] = "sweeps"
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", "--dry-run", help="Print the stages that would run, and change nothing.", rich_help_panel=OUTPUT
        ),
    ] = False
    json_: Annotated[bool, typer.Option("--json", help="With --plan: print JSON.", rich_help_panel=OUTPUT)] = False
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --plan: simulate on N GPUs (or CPU cores). Default: this machine's.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    price: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            min=0,
            help="With --plan: print the cost at this price per device and hour.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
