"""Options of the commands that run sweeps, searches and landscapes, in the groups that their help shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from workers.terminal.help import ADVANCED, DATA, HOW_MUCH, OUTPUT, WHAT, WHERE
from workers.terminal.options import StageOptions, option

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
    option(
        WHAT,
        "Change a field of the recipe, such as optimizer.learning_rate=0.05; repeatable. docs/experiments.md "
        "lists the fields.",
        "--set",
        metavar="KEY=VALUE",
    ),
]
RecipeFile = Annotated[Path | None, option(WHAT, "YAML file with recipe fields.", metavar="FILE")]
Fast = Annotated[
    bool,
    option(
        WHAT,
        "Train faster, with other rounding and so other keys: convolutions and matrix products in bfloat16, long "
        "trainings through torch.compile. Accuracies may be some tenths of a point lower (docs/speed.md); sweep --plan "
        "says what it gains here.",
        "--fast",
    ),
]
MaxConcurrent = Annotated[
    int | None,
    option(WHERE, "Run at most N stages or trials at a time.", metavar="N", min=1, max=100_000),
]
HashAllData = Annotated[
    bool,
    option(
        DATA,
        "Fingerprint every byte of image folders beyond 20 GB too, such as ImageNet's; without, their names, labels, "
        "sizes and both ends of each file. Either way gives keys of its own, so give it for all sweeps of a store, or "
        "for none.",
        "--hash-all-data",
    ),
]


@dataclass(frozen=True)
class ExecutionOptions(StageOptions):
    """How a command of the orchestrator computes stages."""

    checkpoint_interval: Annotated[
        float, option(ADVANCED, "Seconds between checkpoints within a training.", metavar="SECONDS", min=0)
    ] = 60.0


@dataclass(frozen=True)
class ComparisonOptions:
    """What a sweep compares, and how much of it."""

    datasets: Annotated[
        str | None,
        option(WHAT, "Data sets, separated by commas: {datasets}.", "--datasets", "--dataset", metavar="NAMES"),
    ] = None
    archs: Annotated[
        str | None,
        option(WHAT, "Architectures: {archs}. Default: the data set's own.", "--archs", "--arch", metavar="NAMES"),
    ] = None
    methods: Annotated[
        str | None,
        option(
            WHAT,
            "Pruning methods: {methods}, or a recipe's own_methods with one of the criteria {criteria}. Default: "
            "aws,lrr.",
            metavar="NAMES",
        ),
    ] = None
    tickets: Annotated[
        str | None,
        option(
            WHAT,
            "Start from tickets from elsewhere: a file or folder that `winning-sign tickets convert` reads, a zoo, or "
            "another store (STORE takes the rounds that are compared, STORE:STAGE those stages). Without --methods no "
            "chain is run.",
            metavar="[NAME=]PLACE,…",
        ),
    ] = None
    transfers: Annotated[
        str | None,
        option(
            WHAT,
            "Starts of the final trainings from each ticket: {transfers}, or a recipe's own_transfers. Default: "
            "signed,mask.",
            metavar="NAMES",
        ),
    ] = None
    preset: Annotated[
        str | None,
        option(
            WHAT,
            "sound: choices use a validation split, and the test set is read once. reference: the protocol of the "
            "released code. Default: sound.",
        ),
    ] = None
    recipe: RecipeFile = None
    set_: Settings = None
    fast: Fast = False
    hash_all_data: HashAllData = False
    smoke: Annotated[bool, option(WHAT, "Run the smoke variant of EXPERIMENT; it takes seconds.", "--smoke")] = False
    seeds: Annotated[
        int | None,
        option(
            HOW_MUCH,
            "Final trainings of each start of each ticket, seeds 1 to N, each transfer from another random "
            "initialisation; and N dense networks. Default: the recipe's (3; with --preset reference 2).",
            metavar="N",
        ),
    ] = None
    chains: Annotated[
        int | None,
        option(
            HOW_MUCH,
            "Independent pruning chains per method. Differences are judged over chains: with one, nothing is called "
            "shown; with three, only what is large beside the spread. Default: the recipe's (1; mnist1d 3).",
            metavar="N",
        ),
    ] = None
    until_shown: Annotated[
        bool,
        option(
            HOW_MUCH,
            "Add chains until every primary question is decided: shown, its reverse shown, or smaller than the study's "
            "margin. Needs --max-chains, or study.looks in the recipe.",
            "--until-shown",
        ),
    ] = False
    max_chains: Annotated[
        int | None,
        option(
            HOW_MUCH,
            "Most chains of the study. Results are judged after each chain from --chains on; the probability of a "
            "false claim stays 5 % over all these looks.",
            metavar="N",
        ),
    ] = None
    rounds: Annotated[
        int | None,
        option(
            HOW_MUCH,
            "Pruning rounds per chain; each prunes a fifth of the weights that are left, unless the recipe's "
            "prune_fraction says otherwise. Default: the recipe's (15; imagenet and imagefolder 10).",
            metavar="N",
        ),
    ] = None
    probe_rounds: Annotated[
        str | None,
        option(
            HOW_MUCH, 'Rounds to probe for barriers, such as 8,12 or "all". Default: the recipe\'s.', metavar="ROUNDS"
        ),
    ] = None
    probes: Annotated[
        str | None,
        option(HOW_MUCH, "Further measurements on each probed pair: {probes}. Default: none.", metavar="NAMES"),
    ] = None


@dataclass(frozen=True)
class PlacementOptions:
    """Where the stages of a sweep run."""

    backend: Annotated[str, option(WHERE, "ray, or inline: one stage at a time in this process, without Ray.")] = "ray"
    address: Annotated[
        str | None,
        option(WHERE, "Ray cluster to join. Default: in a Ray job its cluster, else a private Ray on this machine."),
    ] = None
    scale_to: Annotated[
        int | None,
        option(
            WHERE,
            "GPUs (with --device cpu: CPUs) that the cluster's autoscaler may start for this sweep.",
            metavar="N",
            min=1,
            max=100_000,
        ),
    ] = None
    max_concurrent: MaxConcurrent = None
    budget: Annotated[
        str | None,
        option(
            WHERE,
            "Stop before more device time than this is spent on the sweep, earlier runs of it included: 40h, or 200USD "
            "with --price. Stages checkpoint; the same command with a larger budget goes on.",
            metavar="40h|200USD",
        ),
    ] = None
    gpus_per_stage: Annotated[
        int | None,
        option(
            WHERE, "GPUs (or CPU cores) that train one network together. Default: the recipe's, 1.", metavar="N", min=1
        ),
    ] = None
    pack: Annotated[
        int | None,
        option(
            WHERE,
            "Stages that share a GPU. Default: as many as raise the throughput, by measurement.",
            metavar="N",
            min=1,
            max=32,
        ),
    ] = None
    hang_limit: Annotated[
        float | None,
        option(
            ADVANCED,
            "Seconds without progress before a stage counts as hung (at least 20 of its slowest steps; 6x during "
            "start-up). Default: 300.",
            metavar="SECONDS",
            min=1,
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where the results of a sweep go, or what its plan shows."""

    store: Annotated[
        str,
        option(
            OUTPUT,
            "Folder or URL (s3://bucket/path, gs://bucket/path) of all results, made if it is not there. On a cluster, "
            "every machine must see it. The same command continues an interrupted sweep.",
            metavar="STORE",
        ),
    ] = "sweeps"
    log_to: Annotated[
        list[str] | None,
        option(
            OUTPUT,
            "Write finished stages for another tool too: tensorboard:FOLDER (default: runs), mlflow:URI or "
            "wandb:PROJECT; repeatable. If it fails, the sweep goes on.",
            metavar="TOOL[:PLACE]",
        ),
    ] = None
    plan: Annotated[
        bool, option(OUTPUT, "Print the stages that would run, and change nothing.", "--plan", "--dry-run")
    ] = False
    json_: Annotated[bool, option(OUTPUT, "With --plan: print JSON.", "--json")] = False
    yaml_: Annotated[
        bool,
        option(
            OUTPUT,
            "With --plan: print only the whole recipe, as YAML that --recipe takes back; the built-in values stand "
            "beside those that differ.",
            "--yaml",
        ),
    ] = False
    devices: Annotated[
        int | None,
        option(
            OUTPUT,
            "With --plan: simulate on N GPUs (or CPU cores). Default: this machine's.",
            metavar="N",
            min=1,
            max=100_000,
        ),
    ] = None
    epoch_seconds: Annotated[
        str | None,
        option(
            OUTPUT,
            "With --plan: seconds of a training's epoch, for work that the store has not measured: 12, or by name, "
            "such as resnet20=12,cifar10/resnet50=90.",
            metavar="SECONDS",
        ),
    ] = None
    price: Annotated[
        float | None,
        option(
            OUTPUT,
            "Price per device and hour. With --plan: print the cost. With --budget: the price of its device time.",
            metavar="USD",
            min=0,
        ),
    ] = None
