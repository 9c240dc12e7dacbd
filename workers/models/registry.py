"""Register architectures by name, and build networks. docs/extending.md shows how to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tickets import reinitialise_
from tickets.registry import Registered, Registry, unknown
from workers.devices.randomness import exclusive_generators, no_beat
from workers.models.options import options_of, takes_any, unexpected, unfit, unknown_option
from workers.stages import Model

Builder = Callable[..., nn.Module]
Options = Mapping[str, int | float | bool | str]


def as_given(options: Options) -> Options:
    """Complete a recipe's options by none."""
    return options


@dataclass(frozen=True)
class Architecture(Registered[Builder]):
    """A registered architecture.

    Attributes:
        complete: turns a recipe's options into those of its stages. An option that is younger than results without it
            keeps their meaning as the builder's default, which no key holds, and gets its value for new sweeps here.
        passed_on: returns options, with their annotations, that the builder takes without naming them.
    """

    complete: Callable[[Options], Options] = as_given
    passed_on: Callable[[], Mapping[str, Any]] = dict

    @property
    def build(self) -> Builder:
        """A function of (in_channels, num_classes, **options)."""
        return self.function

    def unfit(self, options: Options) -> str | None:
        """A sentence about the first option that the network does not take, or not with this value; None if all fit."""
        return unfit(options, self._known(options), others=takes_any(self.function))

    def refused(self, error: Exception, options: Options) -> str | None:
        """A sentence about the option that the builder refused, as it does what it passes on; None for other errors."""
        name = unexpected(error)
        return unknown_option(name, self._known(options)) if name is not None and name in options else None

    def _known(self, options: Options) -> dict[str, Any]:
        known = options_of(self.function)
        return {**self.passed_on(), **known} if options.keys() - known.keys() else known


ARCHITECTURES = Registry("architecture", Architecture)

FAMILIES: dict[str, Callable[[str], Architecture]] = {}
"""Architectures that a library names, as ``prefix:NAME``: prefix -> function of NAME, which may raise ValueError."""


def find_architecture(name: str) -> Architecture:
    """Find an architecture by name; ValueError, with the nearest names, if there is none."""
    prefix, colon, rest = name.partition(":")
    if colon and prefix in FAMILIES:
        return FAMILIES[prefix](rest)
    if name not in ARCHITECTURES:
        raise ValueError(unknown("architecture", name, architecture_names(), plugins=True))
    return ARCHITECTURES[name]


def architecture_names() -> list[str]:
    """List all names of architectures, sorted; families as ``prefix:NAME``."""
    return sorted([*ARCHITECTURES, *(f"{prefix}:NAME" for prefix in FAMILIES)])


def architecture(
    name: str, *, version: int = 1, complete: Callable[[Options], Options] = as_given
) -> Callable[[Builder], Builder]:
    """Register a function of (in_channels, num_classes, **options) that returns a freshly initialised network.

    Raise ``version`` when the network changes, so that earlier results are not taken for new ones. A new option needs
    no new version if its default is the former behaviour; ``complete`` then names its value for new sweeps.
    """
    return ARCHITECTURES.register(name, version=version, complete=complete)


def build_model(
    model: Model, *, in_channels: int, num_classes: int, init_seed: int, beat: Callable[[], None] = no_beat
) -> nn.Module:
    """Build a network and draw its initialisation from a seed; the global generator keeps its state.

    A network with a ``reset_parameters`` starts exactly as ``Ticket.apply(network, seed=init_seed)`` starts it.

    Args:
        beat: called while another training uses the generators; see ``exclusive_generators``.
    """
    options: dict[str, Any] = dict(model.options)
    with exclusive_generators(torch.device("cpu"), beat):
        torch.manual_seed(init_seed)
        network = find_architecture(model.name).build(in_channels=in_channels, num_classes=num_classes, **options)
        if callable(getattr(network, "reset_parameters", None)):
            reinitialise_(network, init_seed)
    return network


def check_patches(image_size: int, patch_size: int) -> None:
    """Raise ValueError unless a square image consists of whole patches."""
    if patch_size < 1 or image_size < patch_size or image_size % patch_size:
        raise ValueError(f"image_size={image_size} is no multiple of the patch size; give a multiple of {patch_size}")
