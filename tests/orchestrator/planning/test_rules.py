"""What a plan says of fields that no training of the sweep has."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.planning.rules import without_effect
from orchestrator.recipes.resolution import resolve

L1 = {"regulariser": {"name": "l1"}}
RIGL = {"mask_rule": {"name": "rigl"}}
BETA = {"name": "beta", "parameters": [2, 2]}


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({"methods": [], "round_training": L1, "chains": 5},
         ", since tickets alone run no chain: round_training, chains"),
        ({"methods": ["lrr"], "round_training": L1, "chains": 5}, None),
        ({"methods": ["snip"], "round_training": L1}, " on the chains of snip: round_training"),
        ({"methods": ["snip", "rigl"], "round_training": L1}, None),
        ({"methods": ["rigl"], "round_training": RIGL}, " on the chains of rigl: round_training"),  # it has its own
        ({"methods": ["imp", "one_shot"], "round_epochs": 7}, " on the chains of imp, one_shot: round_epochs"),
        ({"methods": ["imp", "fine_tuning"], "round_epochs": 7}, None),
        ({"methods": ["lrr"], "alpha": BETA}, " on the chains of lrr: alpha"),
        ({"methods": ["lrr", "aws"], "alpha": BETA}, None),
        ({"methods": ["imp"], "pretrain_epochs": 7, "round_schedule": {"name": "cosine"}},
         " on the chains of imp: pretrain_epochs, round_schedule"),
        ({"methods": [], "final_epochs": 3, "seeds": 7}, None),
    ],
)  # fmt: skip
def test_fields_that_change_no_training_are_said(changes: dict[str, Any], idle: str | None) -> None:
    said = [*without_effect(resolve("mnist1d", "resnet1d", "sound", [changes]))]
    assert said == ([] if idle is None else [f"mnist1d/resnet1d: without effect{idle}."])
