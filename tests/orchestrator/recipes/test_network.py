"""What a plan says of a network, and what a network without psi refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import Experiment, find_experiments
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.resolution import resolve
from tests.support.sweep_processes import in_process
from workers.stages.execution import Execution

TINY_VIT = {"image_size": 8, "width": 6, "depth": 2}


def find(tmp_path: Path, arch: str, **recipe: Any) -> Experiment:
    (found,) = find_experiments(
        ExperimentRequest(("tiny",), (arch,), "sound", (recipe,)), Execution("cpu", None, str(tmp_path))
    )
    return found


def test_roles_are_counted_and_layer_norms_are_psi(tmp_path: Path) -> None:
    network = find(tmp_path, "vit_tiny", model=TINY_VIT).network
    assert network is not None
    tokens, width, block = 2 * 2 + 1, 6, 12 * 6 * 6
    assert network.roles == {
        "prunable": 16 * width + 2 * block,
        "classifier": 3 * width + 3,
        "bias": width + 2 * (3 + 1 + 4 + 1) * width,
        "normalization": 2 * width * (2 * 2 + 1),
        "embedding": width + tokens * width,
    }
    assert sum(network.roles.values()) == network.parameters
    assert network.psi_layers == {"LayerNorm": 5}


def test_without_psi_aws_is_refused_and_the_built_in_recipe_takes_lrr(tmp_path: Path) -> None:
    assert resolve("cifar10", "resnet20_unnormalized", "sound").methods == ("lrr",)
    assert find(tmp_path, "resnet20_unnormalized").network.psi_layers == {}  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match=r"methods: aws interpolates psi, .* leave it out, such as --methods lrr"):
        find(tmp_path, "resnet20_unnormalized", methods=["aws", "lrr"])
    own = {"mine": {"interpolate_psi": True, "reset_to": 0}}
    with pytest.raises(RecipeError, match="methods: mine interpolates psi"):
        find(tmp_path, "resnet20_unnormalized", methods=["lrr", "mine"], own_methods=own)


def test_without_psi_transfers_that_differ_in_it_alone_are_one(tmp_path: Path) -> None:
    for twice in (["signed", "signed_psi_kept"], ["signed_psi_signs", "signed"]):
        with pytest.raises(RecipeError, match=f"transfers: {twice[1]} differs from {twice[0]} in psi alone"):
            find(tmp_path, "resnet20_unnormalized", transfers=twice, twins=[])
    find(tmp_path, "resnet20_unnormalized", transfers=["mask", "signed_psi_kept", "random_signs"], twins=[])


def test_the_plan_says_what_is_left_dense_and_why(tmp_path: Path) -> None:
    words = ["--datasets", "tiny", "--archs", "vit_tiny", "--store", tmp_path / "store", "--data-cache", tmp_path]
    words += [part for name, value in TINY_VIT.items() for part in ("--set", f"model.{name}={value}")]
    code, output = in_process(*words, "--plan")
    assert code == 0, output
    assert "36 embedding (class tokens and position embeddings, which weigh no input)" in output
    assert "AWS interpolates the psi of 5 LayerNorm." in output
    code, output = in_process(*words, "--plan", "--json")
    (network,) = json.loads(output)["networks"]
    assert network["roles"]["prunable"] == {"parameters": 960, "left_dense": None}
    assert network["roles"]["embedding"]["left_dense"].startswith("class tokens")
    assert network["psi_layers"] == {"LayerNorm": 5}
