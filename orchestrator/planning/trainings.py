"""The trainings of a recipe: round 0, the pruning rounds, and the final training. Pure."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.recipes import Recipe
from orchestrator.recipes.methods import Method
from workers.stages import Gang, Schedule, Training, learning_rate


def final_training(recipe: Recipe) -> Training:
    """The training that makes a solution of a start."""
    return _training(recipe, recipe.final_epochs, recipe.final_schedule)


def dense_training(recipe: Recipe, method: Method) -> Training:
    """The training of a method's round 0."""
    if method.schedule == "final":
        training = final_training(recipe)
    else:
        training = _training(recipe, recipe.pretrain_epochs, recipe.round_schedule)
    stop = method.prune_at
    return training if stop is None or stop >= training.epochs else replace(training, stop_after=stop)


def round_training(recipe: Recipe, method: Method) -> Training:
    """The training of a method's rounds after pruning; its span is empty for pruning at one point of round 0."""
    dense = dense_training(recipe, method)
    training = dense if method.schedule == "final" else _training(recipe, recipe.round_epochs, recipe.round_schedule)
    if method.prune_at is not None:
        return replace(training, first_epoch=0, stop_after=0)
    if method.schedule_from == "reset":
        return replace(dense, first_epoch=method.reset_to or 0)
    if method.schedule_from == "end":
        lowest = replace(recipe.optimizer, learning_rate=learning_rate(dense, dense.epochs - 1))
        return replace(_training(recipe, recipe.round_epochs, Schedule()), optimizer=lowest)
    return training


def _training(recipe: Recipe, epochs: int, schedule: Schedule) -> Training:
    compiled = recipe.compile_from_epochs is not None and epochs >= recipe.compile_from_epochs
    # on one device the batch-norm policy changes no number, so it must not change a key
    gang = Gang(recipe.gpus_per_stage, recipe.batch_norm) if recipe.gpus_per_stage > 1 else Gang()
    return Training(epochs, recipe.batch_size, recipe.optimizer, schedule, recipe.augmentation, compiled, gang)
