"""Recipes: hyper-parameters for a data set and architecture; and the experiments that use them."""

from orchestrator.recipes.errors import unfit
from orchestrator.recipes.layers import (
    Layer,
    RecipeError,
    merge,
    parse_setting,
    read_builtin,
    read_mapping,
    read_recipe_file,
    user_layers,
)
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve, unknown_field
from tickets.registry import unknown

__all__ = [
    "Layer",
    "Recipe",
    "RecipeError",
    "merge",
    "parse_setting",
    "read_builtin",
    "read_mapping",
    "read_recipe_file",
    "resolve",
    "unfit",
    "unknown",
    "unknown_field",
    "user_layers",
]
