"""What a search may change in a recipe, in words and as draws. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.recipes import Recipe, RecipeError, unknown
from workers.devices.seeds import derive
from workers.stages import Alpha

RATE, DECAY, FRACTION, ALPHA = "optimizer.learning_rate", "optimizer.weight_decay", "prune_fraction", "alpha"
SEARCHABLE = (RATE, DECAY, FRACTION, ALPHA)
LOGARITHMIC = (RATE, DECAY)
DEFAULT_ALPHAS = "uniform(0,1)|beta(0.5..4,0.5..4)"
DIGITS = 4  # of what is drawn: a recipe is read by people
_DISTRIBUTION = re.compile(r"\s*(\w+)\s*\(([^(),]+),([^(),]+)\)\s*")


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, uniform in itself or in its logarithm; equal ends are one value."""

    low: float
    high: float
    logarithmic: bool = False

    def draw(self, stream: np.random.Generator) -> float:
        """A value within the ends, of few digits."""
        share = float(stream.random())  # drawn even for one value, so that what follows it in a trial stays the same
        if self.logarithmic:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Distribution:
    """A family of alpha's distributions, with a range for each of its two parameters."""

    name: str
    parameters: tuple[Range, Range]

    def draw(self, stream: np.random.Generator) -> dict[str, Any]:
        """``alpha`` as a recipe has it."""
        return {"name": self.name, "parameters": [parameter.draw(stream) for parameter in self.parameters]}

    def __str__(self) -> str:
        return f"{self.name}({self.parameters[0]},{self.parameters[1]})"


@dataclass(frozen=True)
class Choice:
    """One of several distributions, each as likely."""

    options: tuple[Distribution, ...]

    def draw(self, stream: np.random.Generator) -> dict[str, Any]:
        """``alpha`` as a recipe has it."""
        return self.options[int(stream.integers(len(self.options)))].draw(stream)

    def __str__(self) -> str:
        return "|".join(map(str, self.options))


Space = Mapping[str, Range | Choice]


def default_space(recipe: Recipe) -> dict[str, Range | Choice]:
    """Around a recipe: a decade of learning rates, two of weight decays, prune fractions from 0.1 to 0.4, and alpha."""
    optimizer = recipe.optimizer
    space: dict[str, Range | Choice] = {
        RATE: Range(optimizer.learning_rate / 10, optimizer.learning_rate * 3, logarithmic=True),
        FRACTION: Range(0.1, 0.4),
    }
    if optimizer.weight_decay:  # none at all is a decision, not a value to search around
        space[DECAY] = Range(optimizer.weight_decay / 10, optimizer.weight_decay * 10, logarithmic=True)
    if "aws" in recipe.methods:
        space[ALPHA] = _choice(DEFAULT_ALPHAS)
    return space


def narrowed(space: Space, texts: Iterable[str]) -> dict[str, Range | Choice]:
    """The space with some of its ranges replaced.

    Args:
        texts: ``optimizer.learning_rate=0.01..0.3``, ``prune_fraction=0.2`` for one value, or for alpha
            ``alpha=uniform(0,1)|beta(2,1..5)``.

    Raises:
        RecipeError: a text is not of that form, or a value cannot be used; one sentence.
    """
    found = dict(space)
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not value:
            raise RecipeError(f"--space {text}: expected KEY=LOW..HIGH, such as {RATE}=0.01..0.3")
        if name not in SEARCHABLE:
            raise RecipeError(f"--space {text}: {unknown('key', name, SEARCHABLE)}; --set gives other fields a value")
        try:
            found[name] = _choice(value) if name == ALPHA else _number(name, value)
        except ValueError as error:
            raise RecipeError(f"--space {text}: {error}") from error
    return found


def draw_points(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """The recipe's changes for every trial, as flat layers by dotted field.

    The first changes nothing: it is the recipe that the others must beat. A trial's draw depends on the seed and on its
    number only, so that a longer search begins with the same trials.
    """
    points: list[dict[str, Any]] = [{}]
    for number in range(2, trials + 1):
        stream = np.random.default_rng(derive("search", seed, "trial", number))
        points.append({name: space[name].draw(stream) for name in SEARCHABLE if name in space})
    return points


def layer(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point as a recipe's nested fields."""
    nested: dict[str, Any] = {}
    for name, value in point.items():
        outer, _, inner = name.rpartition(".")
        if outer:
            nested.setdefault(outer, {})[inner] = value
        else:
            nested[inner] = value
    return nested


def describe_point(point: Mapping[str, Any]) -> str:
    """A point in a few words."""
    if not point:
        return "the recipe as it stands"
    words = []
    for name, value in point.items():
        if name == ALPHA:
            value = f"{value['name']}({','.join(f'{parameter:g}' for parameter in value['parameters'])})"
        words.append(f"{name.rpartition('.')[2]}={value}")
    return " ".join(words)


def _number(name: str, text: str) -> Range:
    found = _range(text, logarithmic=name in LOGARITHMIC)
    if name == FRACTION and not 0 < found.low <= found.high < 1:
        raise ValueError("a prune fraction lies between 0 and 1")
    return found


def _range(text: str, *, logarithmic: bool) -> Range:
    parts = text.split("..")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        raise ValueError("expected a number, or LOW..HIGH") from None
    if len(parts) > 2 or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("expected a number, or LOW..HIGH")
    if low > high:
        raise ValueError(f"the low end {low:g} is above the high end {high:g}")
    if logarithmic and low <= 0:
        raise ValueError("it is drawn by its logarithm, so both ends are positive")
    return Range(low, high, logarithmic)


def _choice(text: str) -> Choice:
    options = []
    for part in text.split("|"):
        match = _DISTRIBUTION.fullmatch(part)
        if match is None:
            raise ValueError("expected distributions such as uniform(0,1) or beta(2,1..5), separated by |")
        name = match[1]
        if name not in ("uniform", "beta"):
            raise ValueError(unknown("distribution", name, ("uniform", "beta")))
        first, second = (_range(match[index], logarithmic=name == "beta") for index in (2, 3))
        for values in ((first.low, second.low), (first.high, second.low)):  # the hardest to be in order
            Alpha(name, values)  # type: ignore[arg-type]
        Alpha(name, (first.high, second.high))  # type: ignore[arg-type]
        options.append(Distribution(name, (first, second)))
    return Choice(tuple(options))
