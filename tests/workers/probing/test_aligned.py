"""Barriers up to permutation, and REPAIR, on trained networks."""

from __future__ import annotations

import copy
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.images import REAL_CIFAR10
from workers.data import fingerprint, open_data
from workers.data.splits import Splits, split_data
from workers.models import build_model
from workers.probing.aligned import repaired_path
from workers.probing.alignment import trace_permutations
from workers.probing.alignment.repair import needs_repair
from workers.probing.probes import PROBES, Pair, measured
from workers.stages import Data, Model, PairProbe, PathEvaluation, Setting
from workers.stages.execution import StageError

PATH = PathEvaluation(3, 32, 96, None)
SETTING = Setting("sound", Data("tiny", "tiny-1", 0.1), Model("resnet1d"))


def trained(splits: Splits, name: str, channels: int, seed: int, steps: int = 15) -> nn.Module:
    model = build_model(Model(name, {"width": 4}), in_channels=channels, num_classes=10, init_seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    for step, batch in enumerate(batch for _ in range(99) for batch in splits.train.in_order(64)):
        if step == steps:
            break
        F.cross_entropy(model(splits.normalized(batch.images)), batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def pair(a: nn.Module, b: nn.Module, splits: Splits) -> Pair:
    prunable = tuple(f"{name}.weight" for name, layer in a.named_modules() if isinstance(layer, nn.Conv2d))
    return Pair(a, b, prunable, splits, seed=1, path=PATH)


def measure(name: str, of: Pair) -> dict[str, float]:
    return measured(PairProbe(SETTING, name, PROBES[name].version, PATH), of)


def permuted(model: nn.Module, splits: Splits) -> nn.Module:
    graph = trace_permutations(model, splits.blank(1))
    other = copy.deepcopy(model)
    other.load_state_dict(graph.permuted(model.state_dict(), graph.drawn(torch.Generator().manual_seed(4))))
    return other


@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason="the real CIFAR-10 is not beside this checkout")
def test_a_permuted_copy_of_a_network_trained_on_cifar10_has_no_barrier_left(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("cifar")
    for split, rows in (("train", 256), ("test", 50)):
        (folder / "cifar10").mkdir(exist_ok=True)
        head = next(pq.ParquetFile(REAL_CIFAR10 / f"{split}.parquet").iter_batches(rows))
        with pq.ParquetWriter(folder / "cifar10" / f"{split}.parquet", head.schema) as writer:
            writer.write_batch(head)
    data = open_data("cifar10", fingerprint("cifar10", folder, folder), folder, folder / "cache")
    splits = split_data(data, Data("cifar10", "parquet", 0.0), torch.device("cpu"))
    model = trained(splits, "resnet20", 3, seed=1)
    model.blocks[0].conv1.weight.data.mul_(torch.rand(4, 4, 3, 3, generator=torch.Generator().manual_seed(3)) < 0.5)
    of = pair(model, permuted(model, splits), splits)
    assert of.barrier()["loss_barrier_nats"] > 0.05
    measured_by = {probe: measure(probe, of) for probe in ("aligned_barrier", "repaired_barrier")}
    measured_by["activation_aligned_barrier"] = measure("activation_aligned_barrier", of)
    for probe, numbers in measured_by.items():
        assert numbers[f"{probe}_loss_nats"] < 1e-4
        assert numbers[f"{probe}_points"] == 0
        assert numbers[f"{probe}_l2_before"] > 1
        assert numbers[f"{probe}_l2_after"] < 1e-5
        assert 50 < numbers[f"{probe}_moved_units_percent"] <= 100
    # with batch norm, REPAIR is the re-estimation that every barrier has
    assert [*measured_by["repaired_barrier"].values()] == [*measured_by["aligned_barrier"].values()]


def test_alignment_brings_trainings_of_two_initialisations_closer(splits: Splits) -> None:
    a, b = (trained(splits, "resnet1d", 1, seed) for seed in (1, 2))
    before = {name: tensor.clone() for name, tensor in b.state_dict().items()}
    one, again = (measure("aligned_barrier", pair(a, b, splits)) for _ in range(2))
    assert one == again
    assert one["aligned_barrier_l2_after"] < one["aligned_barrier_l2_before"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in b.state_dict().items())


def test_repair_corrects_every_layer_between_the_ends_and_nothing_at_them(splits: Splits) -> None:
    a, b = (trained(splits, "resnet20_unnormalized", 1, seed, steps=10) for seed in (1, 2))
    assert needs_repair(a)
    of = replace(pair(a, b, splits), path=replace(PATH, bn_images=None, batch_size=1000, points=3))  # in one batch
    path, model = repaired_path(of, b.state_dict())
    states = [*path]
    points = of.outcomes(states, model)
    for corrected, own in zip((points[0], points[-1]), of.outcomes([of.at(0.0), of.at(1.0)]), strict=True):
        assert torch.allclose(corrected.loss_nats, own.loss_nats, atol=1e-3)
    assert not torch.allclose(points[1].loss_nats, of.outcomes([of.at(0.5)])[0].loss_nats, atol=1e-3)

    images = splits.normalized(torch.cat([batch.images for batch in splits.train.in_order(1000)]))
    between = copy.deepcopy(model)
    between.load_state_dict(states[1])
    deviations = [first_deviation(network, images) for network in (a, b, between.train())]
    assert torch.allclose(deviations[2], (deviations[0] + deviations[1]) / 2, rtol=1e-3)


def first_deviation(model: nn.Module, images: Tensor) -> Tensor:
    """Standard deviation of the first layer's outputs by channel."""
    seen: list[Tensor] = []
    model.conv.register_forward_hook(lambda layer, inputs, output: seen.append(output.detach()))
    with torch.no_grad():
        model(images)
    return seen[0].transpose(0, 1).flatten(1).std(1, correction=0)


class Attentive(nn.Module):
    """Attention over the pixels of an image, with projections that have no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.fc = nn.Linear(1, 4), nn.Linear(4, 3)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.into(x.flatten(1)[..., None])
        return self.fc(self.attention(tokens, tokens, tokens)[0].mean(1))


class Bypassing(nn.Module):
    """A layer whose weight is used without a call of the layer."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.into, self.fc = nn.Linear(pixels, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.linear(x.flatten(1), self.into.weight, self.into.bias))


def test_repair_of_what_no_layer_applies_is_refused_and_not_half_done(splits: Splits) -> None:
    attentive, bypassing = Attentive().eval(), Bypassing(splits.blank(1).numel()).eval()
    prunable = [name for name, each in attentive.named_parameters() if each.dim() > 1 and not name.startswith("fc")]
    assert "attention.in_proj_weight" in prunable
    for network, names, why in (
        (attentive, prunable, "the network has attention.in_proj_weight, a weight that no convolution"),
        (attentive, ["attention.out_proj.weight"], "the network has attention.out_proj.weight"),
        (bypassing, ["into.weight"], "the network never calls into, so REPAIR could not correct it"),
    ):
        of = Pair(network, copy.deepcopy(network), tuple(names), splits, seed=1, path=PATH)
        with pytest.raises(StageError, match=why):
            repaired_path(of, network.state_dict())
    normalized = nn.Sequential(attentive, nn.BatchNorm1d(3))  # re-estimation is REPAIR there
    assert not PROBES["repaired_barrier"].unfit(normalized, [f"0.{name}" for name in prunable])
