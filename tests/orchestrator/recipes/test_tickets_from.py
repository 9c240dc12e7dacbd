"""Tickets of another data set fit a network with the same parameters, whatever its classifier."""

from __future__ import annotations

import pytest

from orchestrator.recipes.experiments import Experiment, Parameter, check_parameters
from orchestrator.recipes.layers import RecipeError
from tests.orchestrator.recipes.small_recipes import recipe
from tickets import Role

STEM, HEAD = Parameter(Role.PRUNABLE, (8, 3, 3, 3)), Parameter(Role.CLASSIFIER, (10, 8))
HERE = Experiment(recipe(), "fingerprint", parameters={"stem.weight": STEM, "fc.weight": HEAD})


@pytest.mark.parametrize(
    "given",
    [
        {"stem.weight": STEM, "fc.weight": HEAD},
        {"stem.weight": STEM, "fc.weight": Parameter(Role.CLASSIFIER, (100, 8))},
        {"stem.weight": STEM, "fc.weight": HEAD, "fc.bias": Parameter(Role.CLASSIFIER, (10,))},
        {"stem.weight": STEM},
    ],
)
def test_classifiers_may_differ(given: dict[str, Parameter]) -> None:
    check_parameters(HERE, given, "north")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"fc.weight": HEAD}, "north lacks stem.weight, which resnet1d on tiny has"),
        ({"stem.weight": STEM, "stem.bias": Parameter(Role.BIAS, (8,))}, "north has stem.bias, which resnet1d on tiny"),
        (
            {"stem.weight": Parameter(Role.PRUNABLE, (8, 1, 3, 3)), "fc.weight": HEAD},
            r"north: stem.weight is prunable of shape \(8, 1, 3, 3\) there, and prunable of shape \(8, 3, 3, 3\)",
        ),
        (
            {"stem.weight": STEM, "fc.weight": Parameter(Role.PRUNABLE, (10, 8))},
            "north: fc.weight is prunable of shape .* there, and classifier",
        ),
    ],
)
def test_every_other_parameter_must_be_there_alike(given: dict[str, Parameter], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        check_parameters(HERE, given, "north")
