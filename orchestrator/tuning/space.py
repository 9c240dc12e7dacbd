"""The space of a search: the recipe fields that trials change, as text and as draws. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.recipe import Recipe
from tickets.registry import unknown
from workers.devices.seeds import derive
from workers.stages import Alpha
from workers.terminal.numbers import is_real, real

RATE, DECAY, FRACTION, ALPHA = "optimizer.learning_rate", "optimizer.weight_decay", "prune_fraction", "alpha"
SEARCHABLE = (RATE, DECAY, FRACTION, ALPHA)
LOGARITHMIC = (RATE, DECAY)
DEFAULT_ALPHAS = "uniform(0,1)|beta(0.5..4,0.5..4)"
DIGITS = 4  # significant digits of drawn values: people read recipes
_DISTRIBUTION = re.compile(r"\s*(\w+)\s*\(([^(),]+),([^(),]+)\)\s*")


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, uniform in its value or its logarithm; equal ends give one value."""

    low: float
    high: float
    logarithmic: bool = False

    def draw(self, stream: np.random.Generator) -> float:
        """Draw a value, rounded to few digits, within the ends."""
        share = float(stream.random())  # drawn even for one value, so that a trial's later draws stay the same
        if self.logarithmic:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of several families of distributions of alpha, with equal probability: a name, and two parameters' ranges."""

    families: tuple[tuple[str, Range, Range], ...]

    def draw(self, stream: np.random.Generator) -> dict[str, Any]:
        """Draw ``alpha`` in the form of a recipe field."""
        name, first, second = self.families[int(stream.integers(len(self.families)))]
        return {"name": name, "parameters": [first.draw(stream), second.draw(stream)]}

    def __str__(self) -> str:
        return "|".join(f"{name}({first},{second})" for name, first, second in self.families)


Space = Mapping[str, Range | Choice]


def default_space(recipe: Recipe) -> dict[str, Range | Choice]:
    """The space around a recipe.

    Learning rates from a tenth to three times the recipe's, two decades of weight decays, prune fractions from 0.1 to
    0.4, and the distribution of alpha.
    """
    optimizer = recipe.optimizer
    space: dict[str, Range | Choice] = {
        RATE: Range(optimizer.learning_rate / 10, optimizer.learning_rate * 3, logarithmic=True),
        FRACTION: Range(0.1, 0.4),
    }
    if optimizer.weight_decay:  # 0 is a decision, not a value to search around
        space[DECAY] = Range(optimizer.weight_decay / 10, optimizer.weight_decay * 10, logarithmic=True)
    if "aws" in recipe.methods:
        space[ALPHA] = _choice(DEFAULT_ALPHAS)
    return space


def narrowed(space: Space, texts: Iterable[str]) -> dict[str, Range | Choice]:
    """Replace ranges of a space.

    Args:
        texts: ``optimizer.learning_rate=0.01..0.3``, ``prune_fraction=0.2`` for one value, or
            ``alpha=uniform(0,1)|beta(2,1..5)``.

    Raises:
        RecipeError: a text is not of this form, or a value does not fit.
    """
    replaced = dict(space)
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not value:
            raise RecipeError(f"--space {text or repr(text)}: expected KEY=LOW..HIGH, such as {RATE}=0.01..0.3")
        if name not in SEARCHABLE:
            raise RecipeError(f"--space {text}: {unknown('key', name, SEARCHABLE)}; change other fields with --set")
        try:
            values = _choice(value) if name == ALPHA else _range(value, logarithmic=name in LOGARITHMIC)
            if name == FRACTION and isinstance(values, Range) and not 0 < values.low <= values.high < 1:
                raise ValueError("a prune fraction lies between 0 and 1")
            replaced[name] = values
        except ValueError as error:
            raise RecipeError(f"--space {text}: {error}") from error
    return replaced


def draw_points(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Draw every trial's changes to the recipe, as flat layers by dotted field.

    The first trial changes nothing: it is the baseline. A draw depends only on the seed and the trial's number, so a
    longer search begins with the same trials.
    """
    points: list[dict[str, Any]] = [{}]
    for number in range(2, trials + 1):
        stream = np.random.default_rng(derive("search", seed, "trial", number))
        points.append({name: space[name].draw(stream) for name in SEARCHABLE if name in space})
    return points


def layer(point: Mapping[str, Any]) -> dict[str, Any]:
    """Nest a point's dotted fields, as in a recipe."""
    nested: dict[str, Any] = {}
    for name, value in point.items():
        outer, _, inner = name.rpartition(".")
        (nested.setdefault(outer, {}) if outer else nested)[inner] = value
    return nested


def describe_point(point: Mapping[str, Any]) -> str:
    """A point in words, such as ``learning_rate=0.05 prune_fraction=0.36``."""
    if not point:
        return "the unchanged recipe"
    words = []
    for name, value in point.items():
        if name == ALPHA:
            value = f"{value['name']}({','.join(f'{parameter:g}' for parameter in value['parameters'])})"
        words.append(f"{name.rpartition('.')[2]}={value}")
    return " ".join(words)


def _range(text: str, *, logarithmic: bool) -> Range:
    parts = text.split("..")
    if len(parts) > 2 or not all(is_real(part.strip()) for part in parts):
        raise ValueError("expected a number, or LOW..HIGH")
    low, high = real(parts[0].strip()), real(parts[-1].strip())
    if low > high:
        raise ValueError(f"the low end {low:g} is above the high end {high:g}")
    if logarithmic and low <= 0:
        raise ValueError("both ends must be positive, as values are drawn by their logarithm")
    return Range(low, high, logarithmic)


def _choice(text: str) -> Choice:
    families = []
    for part in text.split("|"):
        match = _DISTRIBUTION.fullmatch(part)
        if match is None:
            raise ValueError("expected distributions such as uniform(0,1) or beta(2,1..5), separated by |")
        name = match[1]
        if name not in ("uniform", "beta"):
            raise ValueError(unknown("distribution", name, ("uniform", "beta")))
        first, second = (_range(match[index], logarithmic=name == "beta") for index in (2, 3))
        for values in ((first.low, second.low), (first.high, second.low)):  # the corners where low is nearest to high
            Alpha(name, values)  # type: ignore[arg-type]
        Alpha(name, (first.high, second.high))  # type: ignore[arg-type]
        families.append((name, first, second))
    return Choice(tuple(families))
