"""The command line's words as values, or one sentence that says what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from orchestrator.backends.base import BackendError
from orchestrator.recipes import RecipeError
from orchestrator.store import Store, StoreError
from workers.data import DataError, default_cache
from workers.plugins import load_plugins
from workers.stages.execution import Execution

RAY_JOB_MARK = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the process that a job runs, and for no other


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None stays None."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def parse_rounds(text: str | None) -> list[int] | Literal["all"] | None:
    """Rounds separated by commas, or "all"; RecipeError for anything else."""
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    try:
        return [int(part) for part in split_names(text) or []]
    except ValueError:
        raise RecipeError(f'--probe-rounds {text}: expected rounds such as 8,12, or "all"') from None


def check_folder(folder: Path) -> Path:
    """The folder, absolute; DataError with the layout expected unless it exists."""
    if not folder.is_dir():
        raise DataError(
            f"--data-root {folder} is no folder; expected one with {{name}}/train*.parquet and {{name}}/test*.parquet, "
            f"torchvision's cifar-10-batches-py/ or cifar-100-python/, tiny-imagenet-200/, imagenet/ with train/ and "
            f"val/, or for imagefolder:NAME the folder NAME/ with train/<class>/ and val/<class>/"
        )
    return folder.absolute()


def check_store(store: Store) -> Store:
    """The store; StoreError if it can be no folder. Looks only, so that a plan refuses what a run would."""
    folder = store.storage.folder
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder) if folder else None
    if there is not None and not there.is_dir():
        raise StoreError(f"{store.root}: {there} is a file, and a store is a folder; give another --store")
    return store


def check_device(device: str, backend: str) -> str:
    """The device's name; BackendError unless the backend can use it."""
    try:
        known = device == "auto" or torch.device(device).type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise BackendError(f"--device {device}: expected cpu, cuda, cuda:N, or auto")
    if backend == "ray" and ":" in device:
        raise BackendError(f"--device {device}: Ray gives every stage a GPU of its own; give --device cuda")
    if backend == "inline" and device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError(f"--device {device}: there is no GPU here; leave --device out to use the CPU")
    return device


def checked_execution(
    backend: str,
    device: str,
    data_root: Path | None,
    data_cache: Path | None,
    plugins: Sequence[str] | None,
    checkpoint_interval_s: float,
    loader_workers: int | None,
    deterministic: bool,
    cuda_graphs: bool = True,
) -> Execution:
    """How stages are run, from options as they were given; the plugins are imported.

    Raises:
        BackendError, DataError, PluginError: one of them cannot be used.
    """
    execution = Execution(
        device=check_device(device, backend),
        data_root=str(check_folder(data_root)) if data_root else None,
        data_cache=str((data_cache or default_cache()).absolute()),
        checkpoint_interval_s=checkpoint_interval_s,
        plugins=tuple(absolute_plugin(name) for name in plugins or ()),
        loader_workers=loader_workers,
        cuda_graphs=cuda_graphs,
        deterministic=deterministic,
    )
    load_plugins(execution.plugins)
    return execution


def absolute_plugin(plugin: str) -> str:
    """A plugin's file as an absolute path, so that every worker finds it; a module's name as it is."""
    return str(Path(plugin).absolute()) if plugin.endswith(".py") else plugin


def devices_at_hand(
    backend: str, address: str | None, scale_to: int | None, max_concurrent: int | None, execution: Execution
) -> int:
    """How many GPUs, or else cores, run a stage each: of this machine, of a cluster, or what its autoscaler may bring.

    Raises:
        BackendError: there is no such cluster.
    """
    if scale_to:
        there = scale_to
    elif address is not None:
        from orchestrator.backends.ray.cluster import devices_of  # here: a plan for this machine does without Ray

        there = devices_of(address, execution.device)
    else:
        gpus = torch.cuda.device_count() if execution.torch_device.type == "cuda" else 0
        cores = os.cpu_count() or 1
        there = 1 if backend == "inline" else min(gpus or cores, cores)
    return min(there, max_concurrent or there)


def cluster_of_this_job() -> str | None:
    """Where `ray job submit` runs this process; None outside of a job, where RAY_ADDRESS alone is no wish to join."""
    return os.environ.get("RAY_ADDRESS") if RAY_JOB_MARK in os.environ else None
