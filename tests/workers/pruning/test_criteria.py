"""Scores of each criterion: by hand, by a property that its authors prove, and by the resulting masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from workers.data.splits import Splits
from workers.models import build_model
from workers.pruning.criteria import Candidate, criterion, erdos_renyi_densities, scores
from workers.pruning.selection import density, prune
from workers.stages import Criterion, Model

BUILT_IN = ["er", "erk", "magnitude", "random", "snip", "synflow"]


def candidate(splits: Splits, model: nn.Module | None = None, kept: float = 0.5, seed: int = 3) -> Candidate:
    """A small network with a fifth of its weights pruned."""
    model = model or build_model(Model("resnet1d", {"width": 2}), in_channels=1, num_classes=3, init_seed=1)
    names = [name for name, weight in model.named_parameters() if weight.dim() > 1 and not name.startswith("fc")]
    masks = {
        name: torch.rand(model.get_parameter(name).shape, generator=torch.Generator().manual_seed(i)) < 0.8
        for i, name in enumerate(names)
    }
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    return Candidate(model, masks, kept, splits, "none", 32, seed)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", BUILT_IN)
def test_scores_are_repeatable_and_leave_the_network_and_the_generators_alone(name: str, splits: Splits) -> None:
    which, subject = Criterion(name), candidate(splits)
    before, drawn = state(subject.model), torch.random.get_rng_state()
    mode = subject.model.training
    first, again = scores(which, subject), scores(which, subject)
    assert list(first) == list(subject.masks)
    assert all(torch.equal(first[each], again[each]) for each in first)
    assert all(torch.equal(before[each], after) for each, after in subject.model.state_dict().items())
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert subject.model.training == mode
    assert all(parameter.grad is None for parameter in subject.model.parameters())


@pytest.mark.parametrize("name", ["er", "erk", "random", "snip"])
def test_another_seed_draws_other_scores(name: str, splits: Splits) -> None:
    one, other = (scores(Criterion(name), candidate(splits, seed=seed)) for seed in (3, 4))
    assert any(not torch.equal(one[each], other[each]) for each in one)


def test_magnitude_is_the_absolute_value(splits: Splits) -> None:
    subject = candidate(splits)
    scored = scores(Criterion("magnitude"), subject)
    assert all(torch.equal(scored[name], subject.model.get_parameter(name).abs()) for name in scored)


class Linear(nn.Module):
    """A linear layer and a classifier, whose gradients can be written by hand."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.inner, self.fc = nn.Linear(inputs, 4, bias=False), nn.Linear(4, 3, bias=False)
        for layer in (self.inner, self.fc):
            layer.weight.data = torch.rand(layer.weight.shape, generator=stream) - 0.5

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.inner(images.flatten(1)))


def test_snip_is_weight_times_the_gradient_of_the_loss(splits: Splits) -> None:
    subject = candidate(splits, Linear(64))
    (scored,) = scores(Criterion("snip"), subject).values()
    inner, outer = (
        subject.model.get_parameter("inner.weight").detach(),
        subject.model.get_parameter("fc.weight").detach(),
    )
    gradient = torch.zeros_like(inner)
    for images, labels in subject.batches(10):
        x = images.flatten(1)
        p = (x @ inner.T @ outer.T).softmax(1) - F.one_hot(labels, 3)
        gradient += (p @ outer).T @ x / len(labels)
    torch.testing.assert_close(scored, (inner * gradient).abs(), rtol=1e-4, atol=1e-7)


def test_synflow_keeps_the_flow_that_enters_a_layer(splits: Splits) -> None:
    # Tanaka et al. (2020), theorem 1: in a chain of layers without biases each layer's scores have the same sum
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5, bias=False), nn.ReLU(), nn.Linear(5, 6, bias=False))
    model.append(nn.ReLU()).append(nn.Linear(6, 3, bias=False))
    scored = scores(Criterion("synflow"), candidate(splits, model))
    sums = [float(tensor.sum()) for tensor in scored.values()]
    assert sums == pytest.approx([sums[0]] * len(sums))
    assert sums[0] > 0


def test_synflow_reads_no_data(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Candidate, count: int) -> None:
        raise AssertionError("a batch was read")

    monkeypatch.setattr(Candidate, "batches", read)
    scores(Criterion("synflow"), candidate(splits))
    with pytest.raises(AssertionError, match="a batch was read"):
        scores(Criterion("snip"), candidate(splits))


def sizes_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    return {name: torch.Size(shape).numel() for name, shape in shapes.items()}


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.integers(1, 3)),
        min_size=1,
    ),
    st.floats(0.01, 1.0),
)
def test_erk_densities_make_up_the_whole(shapes: dict[str, tuple[int, ...]], kept: float) -> None:
    sizes = sizes_of(shapes)
    densities = erdos_renyi_densities(shapes, sizes, kept)
    assert all(0 <= each <= 1 + 1e-9 for each in densities.values())
    total = sum(densities[name] * sizes[name] for name in shapes)
    assert total == pytest.approx(kept * sum(sizes.values()))


def test_erk_is_proportional_to_the_dimensions_over_their_product() -> None:
    shapes = {"wide": (100, 100, 3, 3), "narrow": (50, 50, 3, 3)}
    densities = erdos_renyi_densities(shapes, sizes_of(shapes), 0.01)
    raw = {"wide": 206 / 90_000, "narrow": 106 / 22_500}
    assert densities["wide"] / densities["narrow"] == pytest.approx(raw["wide"] / raw["narrow"])


@pytest.mark.parametrize(("name", "dimensions"), [("erk", 4), ("er", 2)])  # er leaves the sizes of kernels out
def test_erdos_renyi_prunes_each_layer_to_its_own_density(splits: Splits, name: str, dimensions: int) -> None:
    subject = candidate(splits, kept=0.3)
    total = sum(mask.numel() for mask in subject.masks.values())
    alive = sum(int(mask.sum()) for mask in subject.masks.values())
    kept = prune(scores(Criterion(name), subject), subject.masks, 1 - round(0.3 * total) / alive)
    shapes = {each: tuple(mask.shape) for each, mask in kept.items()}
    wanted = erdos_renyi_densities({each: shape[:dimensions] for each, shape in shapes.items()}, sizes_of(shapes), 0.3)
    off = []
    for each, mask in kept.items():
        whole = int(subject.masks[each].sum())
        off.append(abs(int(mask.sum()) - min(wanted[each] * mask.numel(), whole)))
    assert max(off) <= 2, off


def test_random_takes_from_every_layer_alike(splits: Splits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 64))
    subject = candidate(splits, model)
    kept = prune(scores(Criterion("random"), subject), subject.masks, 0.5)
    for name, mask in kept.items():
        share = int(mask.sum()) / int(subject.masks[name].sum())
        assert share == pytest.approx(0.5, abs=0.02)  # 10,000 weights in each
    assert density(kept) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("name", ["called", "in_place", "trained"])
def test_a_criterions_changes_to_its_network_do_not_reach_the_chain(name: str, splits: Splits) -> None:
    @criterion("called")
    def called(subject: Candidate) -> dict[str, Tensor]:
        for images, _ in subject.batches(2):  # which moves batch norm's statistics
            subject.model(images)
        return {each: weight.abs() for each, weight in subject.weights.items()}

    @criterion("in_place")
    def in_place(subject: Candidate) -> dict[str, Tensor]:
        for mask in subject.masks.values():
            mask.logical_not_()
        return {each: weight.abs_() for each, weight in subject.weights.items()}

    @criterion("trained")
    def trained(subject: Candidate) -> dict[str, Tensor]:
        optimizer = torch.optim.SGD(subject.model.eval().requires_grad_().parameters(), 0.1)
        for images, labels in subject.batches(2):
            F.cross_entropy(subject.model(images), labels).backward()
            optimizer.step()
        return subject.weights

    subject = candidate(splits)
    subject.model.train()
    before = state(subject.model), {each: mask.clone() for each, mask in subject.masks.items()}
    scored = scores(Criterion(name), subject)
    assert all(torch.equal(before[0][each], after) for each, after in subject.model.state_dict().items())
    assert all(torch.equal(before[1][each], after) for each, after in subject.masks.items())
    assert subject.model.training
    assert all(parameter.grad is None for parameter in subject.model.parameters())
    if name != "trained":
        magnitudes = scores(Criterion("magnitude"), subject)
        assert all(torch.equal(scored[each], magnitudes[each]) for each in magnitudes)


def test_an_unusable_score_is_refused() -> None:
    @criterion("broken", version=2)
    def broken(subject: Candidate) -> dict[str, Tensor]:
        return {"w": subject.model.get_parameter("w") * float("nan")}

    model = nn.Module()
    model.register_parameter("w", nn.Parameter(torch.ones(2)))
    masks = {"w": torch.ones(2, dtype=torch.bool)}
    subject = Candidate(model, masks, 0.5, None, "none", 2, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gives w a score that is not finite"):
        scores(Criterion("broken", 2), subject)
    with pytest.raises(ValueError, match="no criterion broken of version 1"):
        scores(Criterion("broken"), subject)
    wider = Candidate(model, {"v": masks["w"], **masks}, 0.5, None, "none", 2, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gives a NoneType for v; return a tensor of shape \(2,\)"):
        scores(Criterion("broken", 2), wider)


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ({"w": np.ones(2)}, r"broken gives a ndarray for w; return a tensor of shape \(2,\)"),
        ({"w": torch.ones(3)}, r"broken gives shape \(3,\) for w; return a tensor of shape \(2,\)"),
        (np.ones(2), "broken gives a ndarray; return tensors by name"),
    ],
)
def test_a_score_that_is_no_fitting_tensor_is_refused_in_one_sentence(returned: Any, sentence: str) -> None:
    criterion("broken")(lambda subject: returned)
    model = nn.Module()
    model.register_parameter("w", nn.Parameter(torch.ones(2)))
    subject = Candidate(model, {"w": torch.ones(2, dtype=torch.bool)}, 0.5, None, "none", 2, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=sentence):
        scores(Criterion("broken"), subject)
