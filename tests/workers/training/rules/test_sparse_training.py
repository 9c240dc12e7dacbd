"""SET and RigL against their papers' rules, on a layer whose updates are written out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.training.rules.mask_rule import MaskUpdate
from workers.training.rules.sparse_training import rigl, set_

#                       0    1     2    3    4     5    6    7     8    9
WEIGHTS = torch.tensor([0.5, -0.1, 0.2, 0.0, -0.4, 0.1, 0.0, -0.2, 0.3, 0.9])
ALIVE = torch.tensor([1, 1, 1, 0, 1, 1, 0, 1, 1, 1], dtype=torch.bool)
GRADIENTS = torch.tensor([9.0, 0.1, 0.2, -0.7, 8.0, 0.3, 0.6, 0.5, 7.0, 6.0])


def update(step: int = 50, last_step: float = 100, seed: int = 1, dims: tuple[int, ...] = (2, 5)) -> MaskUpdate:
    layer = {"layer": WEIGHTS.view(dims)}
    return MaskUpdate(layer, {"layer": ALIVE.view(dims)}, {"layer": GRADIENTS.view(dims)}, step, last_step, seed)


def places(mask: Tensor) -> set[int]:
    return set(mask.flatten().nonzero().flatten().tolist())


def test_set_drops_the_smallest_positive_and_largest_negative_weights_and_grows_as_many_at_random() -> None:
    # of the 5 positive weights 0.4 * 5 = 2 go: 0.1 and 0.2; of the 3 negative ones int(0.4 * 3) = 1: -0.35, though 0.3
    # is nearer to zero
    weights = {"layer": torch.tensor([0.5, -0.35, 0.2, 0.0, -0.4, 0.1, 0.0, -0.6, 0.3, 0.9])}
    kept, free, grown = {0, 4, 7, 8, 9}, {1, 2, 3, 5, 6}, []
    for step in range(1, 201):
        new = places(set_(MaskUpdate(weights, {"layer": ALIVE}, {}, step, 1000, 1), fraction=0.4)["layer"])
        assert new >= kept
        assert len(new) == 8
        grown.append(new - kept)
        assert grown[-1] <= free
    counts = [sum(place in each for each in grown) for place in free]
    assert all(90 < count < 150 for count in counts)  # 3 of 5 places: 120 expected, with deviation 7


def test_an_alive_weight_of_zero_is_the_smallest_positive_one() -> None:
    masks = {"layer": torch.tensor([True, True, True, False])}
    weights = {"layer": torch.tensor([0.0, 0.1, -0.3, 0.0])}
    new = [set_(MaskUpdate(weights, masks, {}, step, 100, 1), fraction=0.5)["layer"] for step in range(40)]
    assert all(each[1] and each[2] and int(each.sum()) == 3 for each in new)
    assert {bool(each[3]) for each in new} == {True, False}


def test_set_draws_by_seed_and_step_and_layer_alone() -> None:
    def drawn(step: int, seed: int) -> tuple[int, ...]:
        return tuple(sorted(places(set_(update(step, seed=seed), fraction=0.4)["layer"])))

    assert drawn(10, 1) == drawn(10, 1)
    assert len({drawn(step, 1) for step in range(1, 9)}) > 3
    assert len({drawn(10, seed) for seed in range(8)}) > 3


@pytest.mark.parametrize(
    ("step", "dropped", "grown"),
    [
        # alpha / 2 * (1 + cos(pi / 2)) = 0.25 of 8 weights: 2 go, +-0.1; of what is free, |gradient| is highest at 3, 6
        (50, {1, 5}, {3, 6}),
        # 0.25 * (1 + cos(pi / 4)) * 8 = 3.41: 3 go, of 0.1, 0.1 and 0.2, of which -0.2 stands later than 0.2;
        # free are 1, 2, 3, 5, 6 with 0.1, 0.2, 0.7, 0.3, 0.6: what was dropped may come back
        (25, {1, 2, 5}, {3, 6, 5}),
        (99, set(), set()),
    ],
)
def test_rigl_drops_by_magnitude_and_grows_by_gradient(step: int, dropped: set[int], grown: set[int]) -> None:
    new = places(rigl(update(step), alpha=0.5)["layer"])
    assert new == (places(ALIVE) - dropped) | grown


@given(
    st.integers(1, 99),
    st.lists(st.floats(-2, 2, width=32), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.floats(0, 1),
)
def test_every_layer_keeps_its_number_of_weights(
    step: int, values: list[float], alive: list[bool], share: float
) -> None:
    masks = {"a": torch.tensor(alive).view(3, 4), "b": torch.tensor(alive[:6])}
    weights = {"a": torch.tensor(values).view(3, 4) * masks["a"], "b": torch.tensor(values[:6]) * masks["b"]}
    gradients = {name: weight.flip(0) for name, weight in weights.items()}
    given_ = MaskUpdate(weights, masks, gradients, step, 100, 7)
    for new in (set_(given_, fraction=share), rigl(given_, alpha=share)):
        assert {name: int(mask.sum()) for name, mask in new.items()} == {n: int(m.sum()) for n, m in masks.items()}
        assert all(mask.dtype == torch.bool and mask.shape == masks[name].shape for name, mask in new.items())
