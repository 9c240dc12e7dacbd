"""Prepares every data set before a sweep starts, with a progress bar, and tries every network on its images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.recipe import Recipe
from orchestrator.store.record import Record
from orchestrator.terminal.data_lines import data_line
from orchestrator.terminal.progress import Stopwatch
from workers.data import MappedData, ProgressCallback, StreamedData, open_data, prepared_folder, why_anew
from workers.data.augmentation import AUGMENTATIONS, CropFlip, ResizedCropFlip
from workers.models import build_model
from workers.plugins import fault
from workers.stages import IMAGE_SIZE, Data, Model
from workers.stages.execution import Execution
from workers.terminal.console import Console

LINE_INTERVAL_S = 30.0


def prepare_data(experiments: Sequence[Experiment], execution: Execution, console: Console) -> None:
    """Prepare every data set and try every network on its images, so that errors come before any stage runs.

    Raises:
        DataError: a data set cannot be downloaded, read or cached.
        RecipeError: a recipe or a network does not suit the images.
    """
    opened: dict[tuple[str, int], MappedData | StreamedData] = {}
    for experiment in experiments:
        recipe = experiment.recipe
        if (recipe.dataset, recipe.image_size) not in opened:
            spec = Data(recipe.dataset, experiment.data_fingerprint, recipe.validation_fraction, recipe.image_size)
            data = opened[recipe.dataset, recipe.image_size] = prepare_data_set(spec, execution, console)
            side = recipe.image_size if isinstance(data, MappedData) and recipe.image_size != IMAGE_SIZE else None
            console.print(data_line(recipe.dataset, data.splits, experiment.left_out, side), soft_wrap=True)
    for experiment in experiments:
        _try(experiment.recipe, opened[experiment.recipe.dataset, experiment.recipe.image_size])


def changed_data(experiments: Sequence[Experiment], records: Iterable[Record], execution: Execution) -> dict[str, str]:
    """By data set, why a store's stages on it are computed anew: its content or its fingerprint's kind changed."""
    stored: dict[str, set[str]] = {}
    for record in records:
        data = record.science.get("setting", {}).get("data", {})
        if "name" in data and "fingerprint" in data:
            stored.setdefault(data["name"], set()).add(data["fingerprint"])
    cache = Path(execution.data_cache)
    sentences = {
        name: why_anew(name, sorted(stored.get(name, ())), now, cache)
        for name, now in dict.fromkeys((e.recipe.dataset, e.data_fingerprint) for e in experiments)
    }
    return {name: sentence for name, sentence in sentences.items() if sentence}


def prepare_data_set(spec: Data, execution: Execution, console: Console) -> MappedData | StreamedData:
    """Open one data set at its image size; download and cache it first if this host does not have it.

    Raises:
        DataError: the data set cannot be downloaded, read or cached, has another fingerprint, or cannot have this size.
    """
    root, cache = Path(execution.data_root) if execution.data_root else None, Path(execution.data_cache)
    if not prepared_folder(spec.name, spec.fingerprint, cache).exists():
        console.print(f"Preparing {spec.name} once, in {cache} …", soft_wrap=True)
    with showing_progress(console) as show:
        return open_data(spec.name, spec.fingerprint, root, cache, show, spec.image_size)


def _check_augmentation(recipe: Recipe, size: tuple[int, int]) -> None:
    """Raise RecipeError if the augmentation would blank images of this height and width, or signals of height 1."""
    match AUGMENTATIONS[recipe.augmentation]:
        case None:
            return
        case CropFlip(padding):
            least = padding + 1  # of fewer rows, some crops hold the padding alone
        case ResizedCropFlip():
            least = 2  # of one row, no crop has the aspect ratios that are drawn
    if min(size) < least:
        raise RecipeError(
            f"augmentation {recipe.augmentation} blanks images of {size[0]}x{size[1]} pixels, as {recipe.dataset} has; "
            f"give --set augmentation=none"
        )


def _try(recipe: Recipe, data: MappedData | StreamedData) -> None:
    """Check that the recipe's augmentation, pixel statistics and network suit the images."""
    if isinstance(data, StreamedData):
        if isinstance(AUGMENTATIONS[recipe.augmentation], CropFlip):
            raise RecipeError(
                f"{recipe.dataset} has images of many sizes, which augmentation {recipe.augmentation} cannot handle; "
                f"give --set augmentation=resized_crop_flip"
            )
        size = (recipe.image_size, recipe.image_size)
    else:
        size = (data.train_images.shape[2], data.train_images.shape[3])
        _check_augmentation(recipe, size)
    for field in ("pixel_mean", "pixel_std"):
        values = getattr(recipe, field)
        if values is not None and len(values) != data.channels:
            raise RecipeError(
                f"{field} has {len(values)} values, and {recipe.dataset} has {data.channels} channels; give one value "
                f"per channel"
            )
    model = Model(recipe.arch, recipe.model)
    subject = f"architecture {recipe.arch} on {recipe.dataset}, whose images are {size[0]}x{size[1]}"
    try:
        network = build_model(model, in_channels=data.channels, num_classes=data.num_classes, init_seed=0).eval()
        with torch.no_grad():
            logits = network(torch.zeros(2, data.channels, *size))
    except (RuntimeError, ValueError, TypeError) as error:
        raise RecipeError(f"{subject}: {error}") from error
    except AssertionError as error:  # timm's, of images of another size than the network's
        raise RecipeError(
            f"{subject}: {error} If the network is built for one size of images, give its option, such as --set "
            f"model.img_size={size[1]}"
        ) from error
    except (Exception, SystemExit) as error:  # a plugin's network may raise anything
        raise RecipeError(f"{subject}: {fault(error)}") from error
    if not isinstance(logits, torch.Tensor):
        raise RecipeError(f"{subject}: its output is a {type(logits).__name__}; return logits, a tensor")
    if logits.shape != (2, data.num_classes):
        raise RecipeError(f"{subject}: its output is {tuple(logits.shape)} for 2 images of {data.num_classes} classes")


@contextmanager
def showing_progress(console: Console) -> Iterator[ProgressCallback]:
    """Yield a function that shows the progress of a part: a bar on a terminal, elsewhere a line now and then."""
    stopwatch, bar_of = Stopwatch(LINE_INTERVAL_S), dict[str, TaskID]()

    def show_line(what: str, done: int, total: int) -> None:
        if stopwatch.due():
            console.print(f"{what}: {done:,} of {total:,}", soft_wrap=True)

    def show_bar(what: str, done: int, total: int) -> None:
        if what not in bar_of:
            bar_of[what] = bars.add_task(what)
        bars.update(bar_of[what], completed=done, total=total)

    if not console.is_terminal:
        yield show_line
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bars:
        yield show_bar
