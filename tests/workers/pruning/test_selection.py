import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.pruning.selection import density, magnitudes, prune, survivors_after


def ones(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


@given(st.integers(0, 3_000_000))
def test_int_of_four_fifths_stay(survivors: int) -> None:
    assert survivors_after(survivors, 0.2) == int(0.8 * survivors) == survivors * 4 // 5


@pytest.mark.parametrize(("fraction", "left"), [(0.9, 1), (0.7, 3), (0.3, 7), (0.1, 9)])
def test_float_error_never_costs_a_weight(fraction: float, left: int) -> None:
    assert survivors_after(10, fraction) == left  # (1 - 0.9) * 10 is 0.9999999999999998


def test_survivors_over_fifteen_rounds_with_ties() -> None:
    # a few magnitudes only, so that every threshold is a tie
    weights = {"a": torch.arange(700).remainder(3).float().view(70, 10), "b": -torch.ones(7, 43)}
    masks, expected = ones(weights), 1001
    for _ in range(15):
        new = prune(magnitudes(weights), masks, 0.2)
        expected = int(0.8 * expected)
        assert sum(int(mask.sum()) for mask in new.values()) == expected
        assert all(not (new[name] & ~masks[name]).any() for name in new)  # nothing comes back
        masks = new
    assert expected == 33


def test_pruning_is_global_with_no_floor_per_layer() -> None:
    weights = {"small": torch.full((8,), 0.1), "large": torch.full((32,), 5.0)}
    masks = prune(magnitudes(weights), ones(weights), 0.2)
    assert int(masks["small"].sum()) == 0
    assert int(masks["large"].sum()) == 32


def test_magnitude_counts_and_not_sign() -> None:
    weights = {"a": torch.tensor([-5.0, 1.0, -2.0, 3.0, 4.0])}
    assert prune(magnitudes(weights), ones(weights), 0.4)["a"].tolist() == [True, False, False, True, True]


def test_ties_keep_the_first() -> None:
    weights = {"a": torch.ones(2, 2), "b": torch.ones(2)}
    masks = prune(magnitudes(weights), ones(weights), 0.5)
    assert masks["a"].tolist() == [[True, True], [True, False]]
    assert not masks["b"].any()


def test_a_zero_weight_can_survive_and_a_pruned_weight_cannot_return() -> None:
    weights = {"a": torch.tensor([0.0, 0.0, 9.0, 1.0, 0.0])}
    masks = {"a": torch.tensor([True, True, False, True, True])}
    kept = prune(magnitudes(weights), masks, 0.25)["a"]
    assert kept.tolist() == [True, True, False, True, False]


def test_density_counts_prunable_weights() -> None:
    assert density({"a": torch.tensor([True, False]), "b": torch.tensor([False, False])}) == 0.25


def test_all_weights_can_be_pruned() -> None:
    weights = {"a": torch.ones(1)}
    assert not prune(magnitudes(weights), ones(weights), 0.2)["a"].any()
