"""Matching finds a permutation again, and never moves weights apart."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.models import build_model
from workers.probing.alignment import (
    PermutationGraph,
    activations,
    compose,
    inverse,
    match_activations,
    match_weights,
    matching,
    trace_permutations,
)
from workers.probing.alignment.matching import assigned
from workers.stages import Model


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(name: str, seed: int, **options: int) -> tuple[nn.Module, PermutationGraph]:
    model = build_model(Model(name, options), in_channels=3, num_classes=10, init_seed=seed)
    for number, parameter in enumerate(model.parameters()):
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=stream(seed + number))
    return model, trace_permutations(model, torch.randn(1, 3, 32, 32, generator=stream(1)))


SMALL = [("resnet1d", {}), ("vit_tiny", {"width": 24, "depth": 2, "heads": 3})]


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_a_permuted_copy_is_found_again_by_its_weights(name: str, options: dict[str, int]) -> None:
    model, graph = network(name, 1, **options)
    state, hidden = model.state_dict(), graph.drawn(stream(2))
    names = [name for name, _ in model.named_parameters()]
    matched = match_weights(graph, state, graph.permuted(state, hidden), names, stream(3))
    assert torch.equal(matched, inverse(hidden))


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_a_permuted_copy_is_found_again_by_its_activations(name: str, options: dict[str, int]) -> None:
    model, graph = network(name, 1, **options)
    state, hidden = model.state_dict(), graph.drawn(stream(2))
    batches = [torch.randn(8, 3, 32, 32, generator=stream(seed)) for seed in (4, 5)]
    matched = match_activations(graph, state, graph.permuted(state, hidden), batches)
    back = graph.permuted(graph.permuted(state, hidden), matched)
    # two units that are off on all images are alike to any measure of activations
    assert graph.moved_share(compose(matched, hidden)) < 0.05
    if name == "vit_tiny":
        assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_a_batch_of_many_activations_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph = network("resnet1d", 1)
    state, hidden = model.state_dict(), graph.drawn(stream(2))
    moved, batch = graph.permuted(state, hidden), torch.randn(8, 3, 32, 32, generator=stream(4))
    whole = match_activations(graph, state, moved, [batch])
    parts: list[None] = []
    monkeypatch.setattr(activations, "BYTES_AT_ONCE", 3 * 4 * sum(each.units.numel() for each in graph.readings))
    assert torch.equal(match_activations(graph, state, moved, [batch], lambda: parts.append(None)), whole)
    assert len(parts) == 3 + len(graph.groups)  # of 3, 3 and 2 images; and once for each group that is assigned


def layers() -> tuple[nn.Module, PermutationGraph]:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    return model, trace_permutations(model, torch.randn(1, 4, generator=stream(0)))


def test_weight_matching_is_the_best_of_all_permutations_of_a_layer() -> None:
    _, graph = layers()
    first = graph.groups[0]
    a, b = ({name: torch.randn(3, 4, generator=stream(seed)) for name in ["0.weight"]} for seed in (1, 2))
    matched = graph.permuted(b, match_weights(graph, a, b, ["0.weight"], stream(3)))
    orders = [b["0.weight"][list(order)] for order in itertools.permutations(range(len(first.units)))]
    best = min((a["0.weight"] - each).norm() for each in orders)
    assert torch.allclose((a["0.weight"] - matched["0.weight"]).norm(), best)


class Residual(nn.Module):
    """A layer whose inputs and outputs are the same three units."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.inner, self.out = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.into(x))
        return self.out(x + F.relu(self.inner(x)))


# of both axes at once, the assignment takes the similarity of each with the other as it is
FARTHER = (
    {"inner.weight": torch.tensor([[1.0, 2, 2], [1, 1, 0], [0, 0, 3]])},
    {"inner.weight": torch.tensor([[0.0, -3, 3], [-3, 3, 2], [-1, 2, 3]])},
)


def test_a_step_that_does_not_bring_weights_closer_is_not_taken() -> None:
    graph = trace_permutations(Residual(), torch.randn(1, 4, generator=stream(0)))
    a, b = FARTHER
    (group,) = graph.groups
    similarities = [axis.slices(a["inner.weight"], group.units) @ axis.slices(b["inner.weight"], group.units).T
                    for axis in graph.axes_of(group.units) if axis.name == "inner.weight"]  # fmt: skip
    step = assigned(graph, group, [torch.stack(similarities).sum(0).double()])
    farther = graph.permuted(b, step)["inner.weight"]
    assert (a["inner.weight"] - farther).norm() > (a["inner.weight"] - b["inner.weight"]).norm()
    assert torch.equal(match_weights(graph, a, b, ["inner.weight"], stream(3)), graph.identity)


def test_a_matching_that_takes_every_step_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "LEAST_GAIN", -math.inf)
    graph = trace_permutations(Residual(), torch.randn(1, 4, generator=stream(0)))
    with pytest.raises(RuntimeError, match="still finds closer weights after 300 passes"):
        match_weights(graph, *FARTHER, ["inner.weight"], stream(3))


def test_weight_matching_brings_networks_closer_and_keeps_zeros_and_statistics_with_their_units() -> None:
    (one, graph), (other, _) = network("resnet1d", 1), network("resnet1d", 9)
    names = [name for name, _ in one.named_parameters()]
    a, b = one.state_dict(), other.state_dict()
    b["blocks.0.conv1.weight"][torch.rand(8, 8, 1, 3, generator=stream(5)) < 0.5] = 0
    b["bn.running_mean"] = torch.arange(8.0)
    matched = match_weights(graph, a, b, names, stream(6))
    moved = graph.permuted(b, matched)

    def distance(x: dict[str, Tensor], y: dict[str, Tensor]) -> float:
        return float(sum((x[name] - y[name]).square().sum() for name in names))

    assert distance(a, moved) < distance(a, b)
    rows = moved["bn.running_mean"].long()
    assert sorted(rows.tolist()) == [*range(8)]
    assert torch.equal(moved["conv.weight"], b["conv.weight"][rows])  # the statistics' own channels
    masks = {"blocks.0.conv1.weight": b["blocks.0.conv1.weight"] != 0}
    assert torch.equal(graph.permuted(masks, matched)["blocks.0.conv1.weight"], moved["blocks.0.conv1.weight"] != 0)
    assert torch.equal(matched, match_weights(graph, a, b, names, stream(6)))


def test_activation_matching_maximises_correlations_and_not_products() -> None:
    model, graph = layers()
    a = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    a["0.weight"], a["0.bias"] = torch.diag(torch.tensor([1.0, 5, 1])) @ torch.eye(3, 4), torch.zeros(3)
    b = dict(a)
    # the weak first unit is a's second; by products, a's second would take the strong mixture
    b["0.weight"] = torch.tensor([[0, 0.1, 0, 0], [12, 10, 0, 0], [0, 0, 1, 0]])
    images = F.relu(torch.randn(400, 4, generator=stream(8)))
    moved = graph.permuted(b, match_activations(graph, a, b, [images[:300], images[300:]]))
    assert torch.equal(moved["0.weight"], b["0.weight"][[1, 0, 2]])


def test_activations_of_any_scale_are_matched() -> None:
    model, graph = layers()
    state = {name: 1e-5 * tensor for name, tensor in model.state_dict().items()}
    state["0.weight"], state["0.bias"] = 1e-5 * torch.eye(3, 4), torch.zeros(3)
    hidden = graph.drawn(stream(2))
    images = torch.randn(100, 4, generator=stream(8))
    matched = match_activations(graph, state, graph.permuted(state, hidden), [images])
    first = graph.groups[0].units
    assert torch.equal(compose(matched, hidden)[first], first)
    assert not torch.equal(hidden[first], first)
