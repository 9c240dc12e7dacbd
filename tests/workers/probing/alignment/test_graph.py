"""Traced permutation symmetries: permuted networks compute the same function, for every architecture here."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from workers.models import ARCHITECTURES, build_model
from workers.probing.alignment import PermutationGraph, compose, inverse, trace_permutations
from workers.stages import Model
from workers.stages.execution import StageError

SMALL: Mapping[str, Mapping[str, Any]] = {
    "mlp_mixer": {"image_size": 32},
    "vgg16": {"width": 8},
    "vit_tiny": {"width": 24, "depth": 2, "heads": 3},
    "vit_b16": {"image_size": 32},
}
LONG = {"vit_b16", "resnet50", "mobilenetv2", "resnet32", "resnet56", "resnet18", "efficientnet_b0"}
"""Architectures whose operations others have too, and that take seconds."""
# groups by (blocks, units of each kind in a block)
FOUND = {
    "resnet20": {(1, 16): 4, (1, 32): 4, (1, 64): 4},  # three streams, and one hidden layer in each of nine blocks
    "resnet20_unnormalized": {(1, 16): 4, (1, 32): 4, (1, 64): 4},
    "resnet1d": {(1, 8): 2, (1, 16): 2, (1, 32): 2},
    "mlp_mixer": {(1, 512): 1, (1, 256): 12, (1, 16): 12},  # the stream; hidden channels; hidden patches, of 4 each
    "vit_tiny": {(3, 8, 8): 2, (1, 96): 2, (1, 24): 1},  # heads of queries with keys, and values; hidden; the stream
}


def random_state(model: nn.Module) -> dict[str, Tensor]:
    """Values at which a wrong permutation shows: no two units alike, none dead, variances positive."""
    stream = torch.Generator().manual_seed(5)
    state = {}
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=stream).double()
        scale = max(1, tensor[0].numel()) ** -0.5 if tensor.dim() > 1 else 0.2
        state[name] = (
            tensor if not tensor.is_floating_point() else noise * scale if tensor.dim() > 1 else 1 + noise.abs() * scale
        )
    return state


def without_noise(model: nn.Module) -> nn.Module:
    """A network in training mode, but without dropout, whose draws follow positions and not units."""
    for module in model.train().modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.eval()
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


def furthest(
    model: nn.Module, graph: PermutationGraph, images: Tensor, permutation: Tensor, *, train: bool = True
) -> float:
    """How far a permuted network's outputs are from the network's, in units of their spread, in either mode."""
    state = random_state(model)
    moved = graph.permuted(state, permutation)
    distances = []
    evaluating = copy.deepcopy(model).eval()
    for mode in (evaluating, without_noise(copy.deepcopy(model))) if train else (evaluating,):
        with torch.no_grad():
            one, other = (functional_call(mode, dict(each), (images,)) for each in (state, moved))
        distances.append(float((one - other).abs().max() / one.std()))
    return max(distances)


def kinds(graph: PermutationGraph) -> Counter[tuple[int, ...]]:
    return Counter((group.blocks, *(kind.shape[1] for kind in group.kinds)) for group in graph.groups)


def traced(model: nn.Module, *shape: int) -> tuple[nn.Module, PermutationGraph, Tensor]:
    model, images = model.double(), torch.randn(3, *shape, generator=torch.Generator().manual_seed(2)).double()
    return model, trace_permutations(model, images[:1]), images


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in sorted(ARCHITECTURES)]
)
def test_a_permuted_network_computes_the_same_function(name: str) -> None:
    network = build_model(Model(name, SMALL.get(name, {})), in_channels=3, num_classes=10, init_seed=1)
    model, graph, images = traced(network, 3, 32, 32)
    permutation = graph.drawn(torch.Generator().manual_seed(3))
    assert graph.moved_share(permutation) > 0.8
    assert furthest(model, graph, images, permutation) < 1e-8
    assert all(name in dict(model.named_parameters()) for name, _ in graph.fixed)
    if name in FOUND:
        assert kinds(graph) == FOUND[name]


@pytest.mark.parametrize("name", ["resnet1d", "vit_tiny"])
def test_an_axis_left_out_of_the_graph_changes_the_function(name: str) -> None:
    network = build_model(Model(name, SMALL.get(name, {})), in_channels=3, num_classes=10, init_seed=1)
    model, graph, images = traced(network, 3, 32, 32)
    permutation = graph.drawn(torch.Generator().manual_seed(3))
    for number, axis in enumerate(graph.axes):
        broken = replace(graph, axes=(*graph.axes[:number], *graph.axes[number + 1 :]))
        assert furthest(model, broken, images[:1], permutation, train=False) > 1e-6, (axis.name, axis.axis)


def test_a_network_whose_traced_permutations_are_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.probing.alignment import rules

    # a rule that forgets that a nonlinear sum over positions mixes them
    monkeypatch.setitem(rules.RULES, "cumsum", rules.pointwise)
    with pytest.raises(StageError, match="a permuted copy of this network computes another function"):
        traced(Through(lambda x: x.cumsum(1)), 3, 4, 4)


class Through(nn.Module):
    """Convolution, any function of its eight channels, convolution, mean, linear."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 8, groups: int = 1) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(channels, 6, 1, groups=groups)
        self.last, self.function = nn.Linear(6, 5), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.gelu(self.second(self.function(F.gelu(self.first(x))))).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (Through(lambda x: x), {(1, 8): 1, (1, 6): 1}),
        (Through(lambda x: x.cumsum(1)), {(1, 6): 1}),  # an operation without a rule fixes what it reads
        (Through(lambda x: x + torch.arange(8.0).view(8, 1, 1)), {(1, 6): 1}),  # so do constants that differ
        (Through(lambda x: torch.cat([x[:, :5], x[:, 5:] ** 2], 1)), {(1, 5): 1, (1, 3): 1, (1, 6): 1}),
        (Through(lambda x: torch.cat([x, x.relu()], 1), 16), {(1, 8): 1, (1, 6): 1}),  # a channel twice
        (Through(lambda x: x + x.roll(1, 1)), {(1, 6): 1}),  # every channel meets its neighbour
        (Through(lambda x: x, groups=2), {(2, 4, 3): 1}),  # groups as wholes, and channels within them
        (Through(lambda x: x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2), groups=2), {(2, 4, 3): 1}),
        (Through(lambda x: F.pixel_shuffle(x, 2), 2), {(1, 6): 1}),  # channels become positions
        (Through(lambda x: torch.stack([x, x.relu()], 1).mean(1)), {(1, 8): 1, (1, 6): 1}),
        (Through(lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2)), {(1, 8): 1, (1, 6): 1}),
        (Through(lambda x: F.group_norm(x, 4)), {(4, 2): 1, (1, 6): 1}),
        (Through(lambda x: F.layer_norm(x.movedim(1, 3), (8,)).movedim(3, 1)), {(1, 8): 1, (1, 6): 1}),
        (Through(lambda x: x.softmax(1) * x.amax((2, 3), keepdim=True).sigmoid()), {(1, 8): 1, (1, 6): 1}),
    ],
)
def test_what_moves_through_an_operation(network: nn.Module, found: dict[tuple[int, ...], int]) -> None:
    model, graph, images = traced(copy.deepcopy(network), 3, 4, 4)
    assert kinds(graph) == found
    assert furthest(model, graph, images, graph.drawn(torch.Generator().manual_seed(7))) < 1e-9


class WithConstant(Through):
    """A buffer that no state dict holds cannot be permuted."""

    def __init__(self) -> None:
        super().__init__(lambda x: x * self.scale)
        self.register_buffer("scale", torch.arange(8.0).view(8, 1, 1) + 1, persistent=False)


def test_constants_stay_and_hold_what_they_meet() -> None:
    model, graph, images = traced(WithConstant(), 3, 4, 4)
    assert kinds(graph) == {(1, 6): 1}
    assert furthest(model, graph, images, graph.drawn(torch.Generator().manual_seed(7))) < 1e-9


def test_attention_of_timm_moves_heads_and_what_is_within_them() -> None:
    timm = pytest.importorskip("timm")
    small = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 5}
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", **small)  # queries, keys and values are one linear layer
    model, graph, images = traced(network, 3, 16, 16)
    assert kinds(graph) == {(3, 8, 8): 1, (1, 24): 1, (1, 96): 1}
    assert furthest(model, graph, images, graph.drawn(torch.Generator().manual_seed(7))) < 1e-9


def test_what_does_not_move_says_why() -> None:
    _, graph, _ = traced(Through(lambda x: x.cumsum(1)), 3, 4, 4)
    assert graph.fixed["first.weight", 0] == "no rule for cumsum"
    assert graph.fixed["second.weight", 1] == "it meets values that cannot move"
    assert graph.fixed["last.weight", 0] == "an output of the network"
    assert graph.fixed["first.weight", 1] == "it meets values that cannot move"  # channels of the image
    assert ("second.weight", 0) not in graph.fixed


def test_flattened_channels_move_with_all_their_positions() -> None:
    model, graph, images = traced(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6), nn.Linear(6, 2)
        ),
        3,
        4,
        4,
    )
    assert kinds(graph) == {(1, 4): 1, (1, 6): 1}
    permutation = graph.drawn(torch.Generator().manual_seed(1))
    assert furthest(model, graph, images, permutation) < 1e-9
    numbered = {"4.weight": torch.arange(16.0).expand(6, 16)}
    columns = graph.permuted(numbered, permutation)["4.weight"][0].view(4, 4)
    assert torch.equal(columns % 4, torch.arange(4.0).expand(4, 4))  # positions stay in order within a channel


def test_permutations_compose_and_are_undone() -> None:
    _, graph, _ = traced(Through(lambda x: x, groups=2), 3, 4, 4)
    stream = torch.Generator().manual_seed(0)
    first, second = graph.drawn(stream), graph.drawn(stream)
    state = {"second.weight": torch.randn(6, 4, 1, 1), "first.bias": torch.randn(8)}
    twice = graph.permuted(graph.permuted(state, first), second)
    once = graph.permuted(state, compose(second, first))
    back = graph.permuted(twice, inverse(compose(second, first)))
    for name, tensor in state.items():
        assert torch.equal(twice[name], once[name])
        assert torch.equal(back[name], tensor)
