"""Recipes and plans for pure tests: random small recipes, and one recipe with changes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.recipe import Recipe
from tickets import TRANSFERS
from workers.stages import Optimizer, Schedule

TRANSFER_NAMES = sorted(set(TRANSFERS) - {"dense", "retrain"})


def recipe(**changes: Any) -> Recipe:
    """Two methods, two rounds, one seed, two transfers; the last round is probed."""
    values: dict[str, Any] = {
        "dataset": "tiny",
        "arch": "resnet1d",
        "optimizer": Optimizer(0.1),
        "batch_size": 32,
        "augmentation": "none",
        "pretrain_epochs": 2,
        "rounds": 2,
        "round_epochs": 1,
        "final_epochs": 3,
        "final_schedule": Schedule("steps", (2,)),
        "transfer_rounds": (1, 2),
        "probe_rounds": (2,),
        "seeds": 1,
        "validation_fraction": 0.1,
        "watch_test_set": False,
    }
    return Recipe.model_validate({**values, **changes})


def plan_of(*recipes_: Recipe) -> Plan:
    """Plan these recipes, on data that is never read."""
    return expand(Experiment(found, "fingerprint-1") for found in recipes_)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe of up to three rounds, seeds and chains."""
    rounds = draw(st.integers(1, 3))
    some_rounds = st.lists(st.integers(0, rounds), unique=True, max_size=rounds + 1)
    some_transfers = st.lists(st.sampled_from(TRANSFER_NAMES), unique=True, min_size=1, max_size=3)
    return recipe(
        rounds=rounds,
        methods=draw(st.sampled_from([("aws",), ("lrr",), ("aws", "lrr"), ("lrr", "aws")])),
        transfers=draw(some_transfers),
        twins=draw(some_transfers),
        transfer_rounds=draw(some_rounds),
        probe_rounds=draw(some_rounds),
        chains=draw(st.integers(1, 3)),
        seeds=draw(st.integers(1, 3)),
        preset=draw(st.sampled_from(["sound", "reference"])),
    )
