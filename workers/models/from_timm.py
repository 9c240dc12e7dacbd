"""Any network of timm, as the architecture ``timm:NAME``; timm is an extra, imported when a name needs it.

The network is as timm's constructor builds and draws it, never with trained weights. timm's version is an option of the
architecture, and so part of every key: layers and draws may change with it. Its draws come from torch's generator
alone, so a network built under ``torch.manual_seed(seed)`` starts as a sweep's network of this seed does.
"""

from __future__ import annotations

import re
import warnings
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from tickets.registry import unknown
from workers.models.options import options_of
from workers.models.registry import FAMILIES, Architecture, Options

GIVEN = ("in_chans", "num_classes")
REFUSED = {
    **dict.fromkeys(GIVEN, "the data set gives it"),
    **dict.fromkeys(
        ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"),
        "a sweep draws its networks from seeds",
    ),
    **dict.fromkeys(("features_only", "out_indices"), "a sweep trains classifiers"),
    **dict.fromkeys(("device", "dtype"), "the sweep says where and in which precision a network computes"),
    **dict.fromkeys(("scriptable", "exportable", "no_jit"), "it sets timm's global state"),
}
"""Options of ``timm.create_model`` that no recipe may give, and why."""


def timm_version() -> str:
    """Return the installed timm's version; ValueError if there is none."""
    try:
        return version("timm")
    except PackageNotFoundError as error:
        raise ValueError("timm is not installed; install it with: pip install 'winning-sign[timm]'") from error


def _with_version(options: Options) -> Options:
    return {"timm": timm_version(), **options}


def timm_architecture(name: str) -> Architecture:
    """Make the architecture of a network by timm's name for it.

    Raises:
        ValueError: timm is not installed, does not know the name, or the name has a tag of trained weights.
    """
    timm_version()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm's own old imports
        import timm
    plain, tag, _ = name.partition(".")
    if tag and timm.is_model(plain):
        raise ValueError(f"timm:{name}: a sweep draws its networks from seeds; leave out the tag: timm:{plain}")
    if not re.fullmatch(r"\w+", name) or not timm.is_model(name):
        raise ValueError(_unknown(name, timm.list_models()))

    def build(in_channels: int, num_classes: int, timm: str = "", **options: Any) -> nn.Module:
        return _build(name, in_channels, num_classes, timm, options)

    return Architecture(f"timm:{name}", build, 1, _with_version, lambda: _options(name))


def _options(name: str) -> dict[str, Any]:
    """The options of a network's class, with their annotations; its functions in timm may take a few more."""
    from timm import create_model

    with torch.device("meta"):
        network = create_model(name, pretrained=False)
    return {option: kind for option, kind in options_of(type(network)).items() if option not in REFUSED}


def _unknown(name: str, known: list[str]) -> str:
    """Name the nearest of timm's networks; where none is near, how to list them, since they are over a thousand."""
    if get_close_matches(name, known, cutoff=0.5):
        return unknown("architecture", name, known, "timm:")
    example = "give timm's name of a network, such as timm:resnet18; timm.list_models() lists all"
    return f"unknown architecture 'timm:{name}'; {example}"


def _build(name: str, in_channels: int, num_classes: int, planned_version: str, options: dict[str, Any]) -> nn.Module:
    """Build and draw a network of timm; ValueError for another version than planned, or a network without a rule."""
    from timm import create_model
    from timm.layers import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame

    if planned_version not in ("", timm_version()):
        raise ValueError(
            f"this is timm:{name} of timm {planned_version}, and timm {timm_version()} is installed, whose layers and "
            f"draws may differ; install timm=={planned_version}, or sweep anew without model.timm"
        )
    for option in options.keys() & REFUSED.keys():
        raise ValueError(f"model.{option}: {REFUSED[option]}; leave it out")
    network: nn.Module = create_model(name, pretrained=False, in_chans=in_channels, num_classes=num_classes, **options)
    for layer, module in network.named_modules():
        if isinstance(module, StdConv2d | StdConv2dSame | ScaledStdConv2d | ScaledStdConv2dSame):
            raise ValueError(
                f"{layer}: a {type(module).__name__} standardises its weights in each forward pass, so a pruned weight "
                f"would not be zero there; choose a network without weight standardisation"
            )
    return network


FAMILIES["timm"] = timm_architecture
