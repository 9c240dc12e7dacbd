"""Which chains a sweep with --tickets runs: those that the command names, and no file's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.recipes.layers import merge
from orchestrator.terminal.arguments import sweep_flags
from orchestrator.terminal.options import ComparisonOptions, PlacementOptions


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        ({}, ()),
        ({"methods": "lrr"}, ("lrr",)),
        ({"set_": ["methods=[lrr]"]}, ["lrr"]),
        ({"set_": ["rounds=3"]}, ()),
        ({"recipe": "methods: [aws, imp]\nrounds: 3\n"}, ()),
        ({"recipe": "methods: [aws, imp]\n", "set_": ["methods=[imp]"]}, ["imp"]),
        ({"tickets": None, "recipe": "methods: [imp]\n"}, ["imp"]),
    ],
)
def test_tickets_run_the_chains_that_the_command_names(given: dict[str, Any], methods: Any, tmp_path: Path) -> None:
    if "recipe" in given:
        (tmp_path / "recipe.yaml").write_text(given["recipe"])
        given = {**given, "recipe": tmp_path / "recipe.yaml"}
    flags = sweep_flags(ComparisonOptions(**{"tickets": "theirs.parquet", **given}), PlacementOptions())
    assert merge(*flags.layers)["methods"] == methods
