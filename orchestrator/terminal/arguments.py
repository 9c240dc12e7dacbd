"""The command line's words as values, or one sentence that says what is wrong and the remedy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from orchestrator.backends.base import BackendError
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.layers import Layer, RecipeError, user_layers
from orchestrator.sinks.destination import parse_destinations
from orchestrator.store import Store, StoreError
from orchestrator.terminal.options import ComparisonOptions, ExecutionOptions, OutputOptions, PlacementOptions
from orchestrator.terminal.units import parse_budget
from tickets.files.home import expanded
from tickets.registry import unknown
from workers.data import DataError, data_set_names, default_cache
from workers.devices.cores import usable_cores
from workers.plugins import load_plugins
from workers.stages.execution import Execution
from workers.terminal.numbers import whole

BACKENDS = ("ray", "inline")
RAY_JOB_MARK = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the process that a job runs, and for no other


def check_sweep(placement: PlacementOptions, output: OutputOptions) -> PlacementOptions:
    """Find the cluster of a Ray job; RecipeError if two options contradict each other, SinkError for --log-to."""
    inline = placement.backend == "inline"
    address = cluster_of_this_job() if placement.address is None and not inline else placement.address
    if placement.backend not in BACKENDS:
        raise RecipeError(unknown("backend", placement.backend, BACKENDS))
    if inline and placement.address is not None:
        raise RecipeError("--address names a Ray cluster, and --backend inline runs without Ray; give one of them")
    if placement.scale_to is not None and address is None:
        raise RecipeError("--scale-to needs a cluster with an autoscaler; name it with --address, or run as a Ray job")
    parse_destinations(output.log_to or ())
    if output.json_ and not output.plan:
        raise RecipeError("--json prints a plan; give --plan with it")
    if output.yaml_ and not output.plan:
        raise RecipeError("--yaml prints the recipe of a plan; give --plan with it")
    if output.yaml_ and output.json_:
        raise RecipeError("--json and --yaml print different things; give one of them")
    if not output.plan and output.devices is not None:
        raise RecipeError("--devices belongs to a plan; give --plan with it")
    if not output.plan and output.epoch_seconds is not None:
        raise RecipeError("--epoch-seconds belongs to a plan; give --plan with it")
    if not output.plan and output.price is not None and placement.budget is None:
        raise RecipeError("--price belongs to a plan or a budget; give --plan or --budget with it")
    if placement.budget is not None:
        try:
            parse_budget(placement.budget, output.price)
        except ValueError as error:
            raise RecipeError(str(error)) from error
    return replace(placement, address=None if address is None else check_address(address))


def check_address(address: str) -> str:
    """Return the address of a Ray cluster; BackendError unless it is HOST:PORT or auto.

    The sentence does not repeat the address, which may hold a secret; plans and leases would keep it.
    """
    host, _, port = address.rpartition(":")
    known = re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:.]+\]", host) and re.fullmatch(r"[0-9]{1,5}", port)
    if address == "auto" or (known and 0 < int(port) < 1 << 16):
        return address
    why = "a Ray client cannot drive a sweep" if address.startswith("ray://") else "this is no such address"
    raise BackendError(
        f"--address: expected HOST:PORT as `ray start --head` printed it, or auto, without a user, a password or a "
        f"query, and {why}; credentials belong in RAY_AUTH_TOKEN"
    )


def check_experiment(experiment: Path | None) -> None:
    """Raise RecipeError if the argument EXPERIMENT names data sets."""
    missing = experiment is not None and not experiment.exists()
    names = tuple(part.strip() for part in str(experiment).split(",")) if missing else ()
    if names and set(names) <= set(data_set_names()):
        given = ",".join(names)
        what = "a data set" if len(names) == 1 else "data sets"
        raise RecipeError(f"{given}: this argument names an experiment, not {what}; give --datasets {given}")


def sweep_flags(comparison: ComparisonOptions, placement: PlacementOptions) -> ExperimentRequest:
    """Return the choices of the command line; RecipeError if a recipe file, a setting or the rounds cannot be read."""
    options = {
        "seeds": comparison.seeds,
        "rounds": comparison.rounds,
        "chains": comparison.chains,
        "gpus_per_stage": placement.gpus_per_stage,
        "methods": split_names("--methods", comparison.methods),
        "transfers": split_names("--transfers", comparison.transfers),
        "probe_rounds": parse_rounds(comparison.probe_rounds),
        "probes": split_names("--probes", comparison.probes),
    }
    most = () if comparison.max_chains is None else (f"study.max_chains={comparison.max_chains}",)
    layers = user_layers(comparison.recipe, (*(comparison.set_ or ()), *most), options, fast=comparison.fast)
    if comparison.tickets and not any("methods" in layer for layer in layers if not isinstance(layer, Layer)):
        layers = (*layers, {"methods": ()})  # tickets alone: no file's chain is run, but those that the command names
    datasets, archs = split_names("--datasets", comparison.datasets), split_names("--archs", comparison.archs)
    return ExperimentRequest(datasets, archs, comparison.preset, layers, split_names("--tickets", comparison.tickets))


def split_names(option: str, text: str | None) -> tuple[str, ...] | None:
    """Split an option's names at commas; None stays None. RecipeError if a name is empty or stands twice."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(","))
    if "" in names:
        raise RecipeError(f"{option} {text!r}: a name is empty; give names separated by commas, or leave {option} out")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeError(f"{option} {text}: {twice[0]} stands twice; name each once")
    return names


def parse_rounds(text: str | None) -> list[int] | Literal["all"] | None:
    """Read rounds separated by commas, or "all"; RecipeError for anything else."""
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    try:
        return [whole(part.strip()) for part in text.split(",")]
    except ValueError:
        raise RecipeError(f'--probe-rounds {text or repr(text)}: expected rounds such as 8,12, or "all"') from None


def parse_epoch_seconds(text: str | None, planned: Collection[str]) -> dict[str, float]:
    """Read the seconds of an epoch: one number, or NAME=SECONDS separated by commas; a pair wins over its architecture.

    Args:
        planned: pairs of data set and architecture, such as "cifar10/resnet20".

    Returns:
        Seconds by pair.

    Raises:
        RecipeError: a duration is not positive and finite, or a name is no planned architecture or pair.
    """
    if text is None:
        return {}
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    names = [name for name, *_ in parts]
    for _, equals, seconds in parts:
        try:
            usable = 0 < float(seconds) < math.inf
        except ValueError:
            usable = False
        if not usable or (not equals and len(parts) > 1):
            raise RecipeError(
                f"--epoch-seconds {text or repr(text)}: expected positive seconds such as 12, or by name "
                f"resnet20=12,resnet50=90"
            )
    architecture = {pair: pair.rpartition("/")[2] for pair in planned}
    if strangers := [name for name in names if name and name not in {*planned, *architecture.values()}]:
        known = sorted({*architecture.values(), *planned})
        raise RecipeError(f"--epoch-seconds: {unknown('architecture of this plan', strangers[0], known)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeError(f"--epoch-seconds {text}: {twice[0]} stands twice; name each once")
    stated = {name: float(seconds) for name, _, seconds in parts}
    of_pair = {pair: (pair, architecture[pair], "") for pair in planned}
    return {
        pair: next(stated[n] for n in tries if n in stated) for pair, tries in of_pair.items() if {*tries} & {*stated}
    }


def check_folder(folder: Path) -> Path:
    """Return the folder as an absolute path; DataError with the expected layout if it does not exist."""
    if not folder.is_dir():
        raise DataError(
            f"--data-root {folder} is no folder; expected one with {{name}}/train*.parquet and {{name}}/test*.parquet, "
            f"torchvision's cifar-10-batches-py/ or cifar-100-python/, tiny-imagenet-200/, imagenet/ with train/ and "
            f"val/, or for imagefolder:NAME the folder NAME/ with train/<class>/ and val/<class>/"
        )
    return folder.absolute()


def check_store(store: Store) -> Store:
    """Return the store; StoreError if a file is in its way. Writes nothing, so that a plan refuses as a run would."""
    folder = store.storage.folder
    try:
        existing = next((path for path in (folder, *folder.parents) if path.exists()), folder) if folder else None
    except OSError as error:  # a name that is too long, a looping link, a closed folder
        raise StoreError(f"{store.root}: {(error.strerror or str(error)).lower()}; give another --store") from error
    if existing is not None and not existing.is_dir():
        raise StoreError(f"{store.root}: {existing} is a file, and a store is a folder; give another --store")
    return store


def check_device(device: str, backend: str) -> str:
    """Return the device's name; BackendError if the backend cannot use the device."""
    try:
        usable = device == "auto" or torch.device(device).type in ("cpu", "cuda")
    except RuntimeError:
        usable = False
    if not usable:
        raise BackendError(f"--device {device or repr(device)}: expected cpu, cuda, cuda:N, or auto")
    if backend == "ray" and ":" in device:
        raise BackendError(f"--device {device}: Ray gives every stage a GPU of its own; give --device cuda")
    if backend == "inline" and device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError(f"--device {device}: this machine has no usable GPU; leave --device out to use the CPU")
    return device


def checked_execution(backend: str, options: ExecutionOptions) -> Execution:
    """Return how stages are computed, and import the plugins.

    Raises:
        BackendError, DataError, PluginError: the device, the data folder or a plugin cannot be used.
    """
    execution = Execution(
        device=check_device(options.device, backend),
        data_root=str(check_folder(options.data_root)) if options.data_root else None,
        data_cache=str((options.data_cache or default_cache()).absolute()),
        checkpoint_interval_s=options.checkpoint_interval,
        # a file's absolute path, so that every worker finds it
        plugins=tuple(
            str(expanded(name).absolute()) if name.endswith(".py") else name for name in options.plugin or ()
        ),
        loader_workers=options.loader_workers,
        cuda_graphs=options.cuda_graphs,
        deterministic=options.deterministic,
    )
    load_plugins(execution.plugins)
    return execution


def available_devices(placement: PlacementOptions, execution: Execution) -> int:
    """Count the GPUs, or else CPU cores, that run a stage each: this machine's, a cluster's, or the autoscaler's limit.

    Raises BackendError if the cluster does not answer.
    """
    if placement.scale_to:
        count = placement.scale_to
    elif placement.address is not None:
        from orchestrator.backends.ray.cluster import devices_of  # here: a plan for this machine needs no Ray

        count = devices_of(placement.address, execution.device)
    else:
        gpus = torch.cuda.device_count() if execution.torch_device.type == "cuda" else 0
        cores = usable_cores()
        count = 1 if placement.backend == "inline" else min(gpus or cores, cores)
    return min(count, placement.max_concurrent or count)


def cluster_of_this_job() -> str | None:
    """Return the Ray address inside a `ray job submit`; None elsewhere, where RAY_ADDRESS alone is no wish to join."""
    return os.environ.get("RAY_ADDRESS") if RAY_JOB_MARK in os.environ else None
