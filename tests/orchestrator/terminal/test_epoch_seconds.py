"""Stated durations of ``--plan``: one for all, by architecture, or by data set and architecture."""

from __future__ import annotations

import pytest

from orchestrator.recipes.layers import RecipeError
from orchestrator.terminal.arguments import parse_epoch_seconds

PLANNED = ("cifar10/resnet20", "cifar10/resnet50", "imagefolder:my/flowers/resnet50")


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (None, {}),
        ("12", dict.fromkeys(PLANNED, 12.0)),
        ("resnet20=0.5", {"cifar10/resnet20": 0.5}),
        ("resnet50=90, cifar10/resnet50=9", {"cifar10/resnet50": 9.0, "imagefolder:my/flowers/resnet50": 90.0}),
    ],
)
def test_a_pair_wins_over_its_architecture(text: str | None, stated: dict[str, float]) -> None:
    assert parse_epoch_seconds(text, PLANNED) == stated


@pytest.mark.parametrize("text", ["", "resnet20=", "-1", "nan", "1,2", "resnet20=1,2", "cifar100/resnet20=1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--epoch-seconds"):
        parse_epoch_seconds(text, PLANNED)
