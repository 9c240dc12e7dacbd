"""The space of a search: ``--space`` texts, and draws that depend only on seed and trial."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recipes.layers import merge
from orchestrator.recipes.recipe import Recipe
from orchestrator.tuning.space import (
    ALPHA,
    DECAY,
    FRACTION,
    RATE,
    Range,
    default_space,
    describe_point,
    draw_points,
    layer,
    narrowed,
)
from tests.orchestrator.recipes.small_recipes import recipe
from workers.stages import Optimizer

SPACE = default_space(recipe())


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ("optimizer.learning_rate=0.01..0.3", RATE, "0.01..0.3"),
        ("optimizer.learning_rate=1e-3..1e-1", RATE, "0.001..0.1"),
        ("optimizer.weight_decay = 1e-4", DECAY, "0.0001"),
        ("prune_fraction=.1..0.3", FRACTION, "0.1..0.3"),
        ("prune_fraction=0.2", FRACTION, "0.2"),
        ("alpha=uniform(0,1)", ALPHA, "uniform(0,1)"),
        ("alpha=uniform(0, 0.5..1) | beta(2,1..5)", ALPHA, "uniform(0,0.5..1)|beta(2,1..5)"),
    ],
)
def test_a_text_narrows_a_range(text: str, name: str, shown: str) -> None:
    space = narrowed(SPACE, [text])
    assert str(space[name]) == shown
    assert space == {**SPACE, name: space[name]}
    assert narrowed(SPACE, [f"{name}={space[name]}"]) == space  # what is shown can be given


@given(st.integers(0, 2**31), st.integers(2, 12))
def test_draws_lie_within_the_space_and_give_valid_recipes(seed: int, trials: int) -> None:
    points = draw_points(SPACE, trials, seed)
    assert len(points) == trials
    assert points[0] == {}
    base = recipe().model_dump()
    for point in points[1:]:
        assert point.keys() == SPACE.keys()
        for name in (RATE, DECAY, FRACTION):
            range_ = SPACE[name]
            assert isinstance(range_, Range)
            assert range_.low <= point[name] <= range_.high
        drawn = Recipe.model_validate(merge(base, layer(point)))
        assert drawn.optimizer.learning_rate == point[RATE]
        assert drawn.alpha.name == point[ALPHA]["name"]
        assert describe_point(point)


def test_a_trials_draw_depends_on_the_seed_and_its_number_only() -> None:
    assert draw_points(SPACE, 5, 1) == draw_points(SPACE, 9, 1)[:5]
    assert draw_points(SPACE, 5, 1)[1:] != draw_points(SPACE, 5, 2)[1:]
    fixed = narrowed(SPACE, [f"{RATE}=0.05"])  # what is no longer searched leaves the other draws as they were
    for one, two in zip(draw_points(SPACE, 5, 1)[1:], draw_points(fixed, 5, 1)[1:], strict=True):
        assert two == {**one, RATE: 0.05}


def test_rates_are_drawn_by_their_logarithm_and_fractions_evenly() -> None:
    points = draw_points({RATE: Range(1e-4, 1.0, True), FRACTION: Range(0.1, 0.5)}, 2000, 3)[1:]
    assert sum(point[RATE] < 1e-2 for point in points) / len(points) == pytest.approx(0.5, abs=0.04)
    assert sum(point[FRACTION] for point in points) / len(points) == pytest.approx(0.3, abs=0.01)


def test_fields_that_the_recipe_does_not_use_are_not_searched() -> None:
    space = default_space(recipe(methods=("lrr",), optimizer=Optimizer(0.1, weight_decay=0.0)))
    assert space.keys() == {RATE, FRACTION}
