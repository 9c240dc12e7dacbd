"""Our pruning against ``torch.nn.utils.prune.global_unstructured``, on identical weights.

The documented rounding rule: of n survivors torch prunes ``round(f * n)``, and we keep ``int((1 - f) * n)``. Given the
number as an integer, torch must find the very same weights; given the fraction, it may keep one weight more, which is
then the largest of those that we prune.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.prune import L1Unstructured, custom_from_mask, global_unstructured

import tickets
from workers.models import build_model
from workers.pruning.selection import magnitudes, prune, survivors_after
from workers.stages import Model

ROUNDS = 15
Tensors = Mapping[str, Tensor]


class TheirPruning:
    """torch's global L1 pruning of some layers; torch remembers the pruned weights from round to round."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = layers

    def prune(self, amount: int | float) -> dict[str, Tensor]:
        """Prune a number of the survivors, or a fraction of them."""
        global_unstructured([(layer, "weight") for layer in self._layers.values()], L1Unstructured, amount=amount)
        return {name: layer.get_buffer("weight_mask").bool() for name, layer in self._layers.items()}

    @torch.no_grad()
    def move(self, by: Tensors) -> None:
        """Change all weights as a training would, pruned ones too."""
        for name, layer in self._layers.items():
            layer.get_parameter("weight_orig").add_(by[name])


def their_masks(weights: Tensors, masks: Tensors, amount: int | float) -> dict[str, Tensor]:
    """One round of torch's pruning of tensors that have masks."""
    layers = {name: nn.Module() for name in weights}
    for name, layer in layers.items():
        layer.weight = nn.Parameter(weights[name].clone())
        custom_from_mask(layer, "weight", masks[name])
    return TheirPruning(layers).prune(amount)


def count(masks: Tensors) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def flat(tensors: Tensors) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def assert_same(ours: Tensors, theirs: Tensors) -> None:
    assert ours.keys() == theirs.keys()
    for name, mask in ours.items():
        assert torch.equal(mask, theirs[name]), name


NETWORKS = {
    "resnet1d": (Model("resnet1d", {"width": 4}), 1),
    "resnet20": (Model("resnet20"), 3),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, Tensor], torch.Size]:
    """A network with its prunable weights and the shape of its input."""
    model, channels = NETWORKS[request.param]
    built = build_model(model, in_channels=channels, num_classes=10, init_seed=5).eval()
    weights = {name: built.get_parameter(name).detach().clone() for name in tickets.prunable_names(built, 10)}
    return built, weights, torch.Size((1, channels, 8, 8))


def layers_of(model: nn.Module, weights: Tensors) -> dict[str, nn.Module]:
    return {name: model.get_submodule(name.removesuffix(".weight")) for name in weights}


Network = tuple[nn.Module, dict[str, Tensor], torch.Size]


def test_every_round_of_a_network_that_trains_between_them_leaves_torchs_masks(network: Network) -> None:
    model, weights, shape = network
    theirs = TheirPruning(layers_of(model, weights))
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    stream = torch.Generator().manual_seed(1)
    before = survivors = count(masks)
    for _ in range(ROUNDS):
        masks = prune(magnitudes(weights), masks, 0.2)
        assert_same(masks, theirs.prune(amount=survivors - survivors_after(survivors, 0.2)))
        survivors = count(masks)
        # as far as weights move in an epoch or two: many of the small ones change places
        steps = {name: 0.5 * w.std() * torch.randn(w.shape, generator=stream) for name, w in weights.items()}
        weights = {name: weight + steps[name] for name, weight in weights.items()}
        theirs.move(steps)
        model(torch.zeros(shape))  # which is when torch multiplies by its masks
    assert before * 0.8**ROUNDS - ROUNDS < survivors <= before * 0.8**ROUNDS


def test_two_chains_that_round_each_in_its_way_differ_by_the_weights_between_their_thresholds(
    network: Network,
) -> None:
    model, weights, _ = network
    theirs = TheirPruning(layers_of(model, weights))
    ours = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    largest_first = flat(weights).abs().argsort(descending=True)
    we_keep = they_keep = len(largest_first)
    apart = set()
    for _ in range(ROUNDS):
        ours, kept = prune(magnitudes(weights), ours, 0.2), theirs.prune(amount=0.2)
        we_keep, they_keep = int(0.8 * we_keep), they_keep - round(0.2 * they_keep)
        assert (count(ours), count(kept)) == (we_keep, they_keep)
        between = torch.zeros_like(flat(kept))
        between[largest_first[we_keep:they_keep]] = True
        assert torch.equal(flat(kept), flat(ours) | between)
        assert not (flat(ours) & between).any()
        apart.add(they_keep - we_keep)
    assert len(apart) > 1  # else nothing was tried
    assert apart <= set(range(6))  # a weight a round, of which four fifths stay in the next: never 1 / (1 - 0.8)


@pytest.mark.parametrize(
    ("survivors", "we_keep", "they_keep"), [(10, 8, 8), (11, 8, 9), (12, 9, 10), (13, 10, 10), (14, 11, 11)]
)
def test_the_rounding_rule_at_a_fifth(survivors: int, we_keep: int, they_keep: int) -> None:
    weights = {"a": torch.arange(1.0, survivors + 1)}
    masks = {"a": torch.ones(survivors, dtype=torch.bool)}
    assert count(prune(magnitudes(weights), masks, 0.2)) == we_keep
    assert count(their_masks(weights, masks, 0.2)) == they_keep


shapes = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)
fractions = st.integers(1, 99).map(lambda percent: percent / 100)


@st.composite
def networks(draw: st.DrawFn, distinct: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Partly pruned weights of layers on different scales; no ties or many."""
    sizes = draw(shapes)
    stream = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    total = sum(torch.Size(shape).numel() for shape in sizes)
    if distinct:
        magnitudes = torch.randperm(total, generator=stream) + 1.0
    else:
        magnitudes = torch.randint(0, 4, (total,), generator=stream).float()  # some survivors are exactly zero
    signed = magnitudes * (torch.randint(0, 2, (total,), generator=stream) * 2 - 1)
    alive = torch.rand(total, generator=stream) < draw(st.sampled_from([1.0, 0.6, 0.1]))
    numbers = [torch.Size(shape).numel() for shape in sizes]
    pieces = enumerate(zip(sizes, signed.split(numbers), alive.split(numbers), strict=True))
    layers = {f"layer{index}": (piece.view(shape), mask.view(shape)) for index, (shape, piece, mask) in pieces}
    return {name: layer[0] for name, layer in layers.items()}, {name: layer[1] for name, layer in layers.items()}


@given(networks(distinct=True), fractions)
def test_the_same_number_is_the_same_mask(network: tuple[Tensors, Tensors], fraction: float) -> None:
    weights, masks = network
    amount = count(masks) - survivors_after(count(masks), fraction)
    assert_same(prune(magnitudes(weights), masks, fraction), their_masks(weights, masks, amount))


@given(networks(distinct=True), fractions)
def test_by_fraction_torch_keeps_at_most_the_next_largest_more(
    network: tuple[Tensors, Tensors], fraction: float
) -> None:
    weights, masks = network
    alive = count(masks)
    ours, theirs = prune(magnitudes(weights), masks, fraction), their_masks(weights, masks, fraction)
    we_keep = math.floor((1 - Fraction(str(fraction))) * alive)  # in exact arithmetic
    more = alive - round(fraction * alive) - we_keep
    assert more in (0, 1)
    assert (count(ours), count(theirs)) == (we_keep, we_keep + more)
    ranks = torch.where(flat(masks), flat(weights).abs(), 0).argsort(descending=True)
    kept = [set(flat(mask).nonzero().flatten().tolist()) for mask in (ours, theirs)]
    assert kept[0] <= kept[1]
    assert kept[1] - kept[0] == set(ranks[count(ours) : count(theirs)].tolist())


@given(networks(distinct=False), fractions)
def test_among_equals_torch_may_choose_otherwise_and_we_keep_the_first(
    network: tuple[Tensors, Tensors], fraction: float
) -> None:
    weights, masks = network
    keep = survivors_after(count(masks), fraction)
    assume(keep)
    ours, theirs = (
        flat(kept)
        for kept in (prune(magnitudes(weights), masks, fraction), their_masks(weights, masks, count(masks) - keep))
    )
    sizes, alive = flat(weights).abs(), flat(masks)
    threshold = sizes[ours].min()
    equals = (sizes == threshold) & alive
    assert torch.equal(ours & ~equals, theirs & ~equals)
    assert int(ours.sum()) == int(theirs.sum()) == keep
    chosen = ours[equals].tolist()  # in the order of the layers, row-major
    assert all(earlier >= later for earlier, later in pairwise(chosen))
