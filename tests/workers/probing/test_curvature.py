"""Curvature against Hessians that are known exactly: computed whole, in float64."""

from __future__ import annotations

from itertools import product as every
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn import functional as F

from tests.support.images import REAL_CIFAR10
from workers.data import fingerprint, open_data
from workers.data.splits import Splits, split_data
from workers.probing.curvature import TOLERANCE, hessian, hutchinson_trace, kept_at, top_eigenvalue
from workers.probing.probes import Pair, measured
from workers.stages import Data, Model, PairProbe, PathEvaluation, Setting
from workers.stages.execution import StageError
from workers.storage.artifacts import load_weights, masks_digest, save_weights, surviving_zeros

PIXELS, CLASSES = 6, 3


def network(last: nn.Module | None = None) -> nn.Module:
    """A perceptron with batch norm in evaluation mode, its statistics moved away from 0 and 1."""
    torch.manual_seed(4)
    layers = nn.Sequential(
        nn.Linear(PIXELS, 4, bias=False), nn.BatchNorm1d(4), nn.Tanh(), last or nn.Identity(), nn.Linear(4, CLASSES)
    )
    layers.double().train()(torch.randn(50, PIXELS, dtype=torch.float64) * 2 + 1)
    return layers.eval()


def batches() -> list[tuple[Tensor, Tensor]]:
    stream = torch.Generator().manual_seed(5)
    images = torch.randn(20, PIXELS, generator=stream, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (20,), generator=stream)
    return [(images[:13], labels[:13]), (images[13:], labels[13:])]  # the mean is over images, not over batches


def whole_hessian(of: nn.Module) -> Tensor:
    names, parameters = zip(*of.named_parameters(), strict=True)
    images, labels = (torch.cat(parts) for parts in zip(*batches(), strict=True))

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in parameters])
        values = {name: part.view_as(p) for name, part, p in zip(names, parts, parameters, strict=True)}
        return F.cross_entropy(functional_call(of, values, (images,)), labels)

    flat = torch.cat([p.detach().flatten() for p in parameters])
    return torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call,no-any-return]


def test_products_are_those_of_the_whole_hessian() -> None:
    of = network()
    product, mask = hessian(of, {}, batches())
    whole = whole_hessian(of)
    assert mask.tolist() == [1.0] * len(whole)
    columns = torch.stack([product(unit) for unit in torch.eye(len(whole), dtype=torch.float64)])
    torch.testing.assert_close(columns, whole, rtol=1e-10, atol=1e-12)


def test_the_largest_eigenvalue_and_the_trace_are_those_of_the_unpruned_weights() -> None:
    of = network()
    kept = {"0.weight": torch.rand(4, PIXELS, generator=torch.Generator().manual_seed(6)) < 0.15}
    with torch.no_grad():
        of.get_parameter("0.weight").mul_(kept["0.weight"])
    product, mask = hessian(of, kept, batches())
    alive = mask.bool()
    assert int(alive.sum()) == int(kept["0.weight"].sum()) + 4 + 4 + 4 * CLASSES + CLASSES
    whole = whole_hessian(of)
    values = torch.linalg.eigvalsh(whole[alive][:, alive])
    assert float(torch.linalg.eigvalsh(whole)[-1]) > 1.02 * float(values[-1])  # pruned weights would count
    top = top_eigenvalue(product, torch.ones(len(mask), dtype=torch.float64) * mask)
    assert top.value == pytest.approx(float(values[-1]), rel=5 * TOLERANCE)
    assert float((values - top.value).abs().min()) <= top.residual
    assert top.iterations > 2
    stream = torch.Generator().manual_seed(7)
    draws = [(torch.randint(0, 2, (len(mask),), generator=stream) * 2.0 - 1) * mask for _ in range(200)]
    trace, error = hutchinson_trace(product, iter(draws))
    assert trace == pytest.approx(float(values.sum()), abs=4 * error)
    assert 0 < error < 0.1 * trace


def test_over_all_draws_the_trace_is_exact() -> None:
    matrix = torch.tensor([[2.0, 5.0, 1.0], [5.0, -1.0, 3.0], [1.0, 3.0, 0.5]], dtype=torch.float64)
    draws = [torch.tensor(signs, dtype=torch.float64) for signs in every((-1.0, 1.0), repeat=3)]
    trace, error = hutchinson_trace(lambda vector: matrix @ vector, iter(draws))
    assert trace == pytest.approx(1.5)
    assert error > 0
    diagonal = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert hutchinson_trace(lambda vector: diagonal @ vector, iter(draws[:4])) == (6.0, 0.0)


@pytest.mark.parametrize(
    ("values", "largest"),
    [([3.0, 1.0, -2.0], 3.0), ([2.0, 1.0, -5.0], 2.0), ([-1.0, -2.0, -4.0], -1.0), ([0.0, 0.0, 0.0], 0.0)],
)
def test_a_negative_eigenvalue_of_larger_magnitude_does_not_count(values: list[float], largest: float) -> None:
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64))
    matrix = turn @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ turn.T
    top = top_eigenvalue(lambda vector: matrix @ vector, torch.ones(3, dtype=torch.float64))
    assert top.value == pytest.approx(largest, rel=0.02, abs=1e-12)


class Once(torch.autograd.Function):
    """A function with a first derivative alone."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return 2 * values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class WithoutSecondDerivative(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return Once.apply(values)  # type: ignore[no-untyped-call,no-any-return]


def test_a_network_without_second_derivatives_is_refused_with_the_remedy() -> None:
    product, mask = hessian(network(WithoutSecondDerivative()), {}, batches())
    with pytest.raises(StageError, match=r"an operation of this network has none .*leave curvature out of probes"):
        product(mask)


class Halves(nn.Module):
    """A tiny convolutional network on images of 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 5, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.relu(self.norm(self.conv(images))).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_survivor_that_is_exactly_zero_is_no_pruned_weight(tmp_path: Path) -> None:
    a, b = nn.Conv2d(2, 2, 2, bias=False), nn.Conv2d(2, 2, 2, bias=False)
    masks = [torch.ones(2, 2, 2, 2, dtype=torch.bool) for _ in "ab"]
    masks[0].view(-1)[[4, 5]] = False
    masks[1].view(-1)[5] = False
    read = []
    for network, mask, zero in ((a, masks[0], 1), (b, masks[1], 4)):
        network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            network.weight.mul_(mask)
            network.weight[zero // 8, zero // 4 % 2, zero // 2 % 2, zero % 2] = 0
        for name in ("one", "again"):
            save_weights(tmp_path / name, network.state_dict(), {"weight": mask})
        assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes()
        assert load_weights(tmp_path / "one")[1] == masks_digest({"weight": mask})
        read.append(surviving_zeros(tmp_path / "one"))
    assert read == [{"weight": [1]}, {"weight": [4]}]
    pair = Pair(a.eval(), b.eval(), ("weight",), cast(Splits, None), 1, surviving_zeros=(read[0], read[1]))
    for share, mask in ((1.0, masks[0]), (0.0, masks[1]), (0.5, masks[0] | masks[1])):
        assert torch.equal(kept_at(pair, share)["weight"], mask)
    # a file of an earlier version, or of a network without such a survivor, has the digest alone
    save_weights(tmp_path / "plain", {"weight": torch.ones(2)}, {"weight": torch.ones(2)})
    with safe_open(tmp_path / "plain", framework="pt") as file:
        assert file.metadata() == {"masks_blake2b": masks_digest({"weight": torch.ones(2)})}
    assert surviving_zeros(tmp_path / "plain") == {}


@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason="this machine has no CIFAR-10 beside the checkout")
def test_the_probe_measures_both_solutions_and_the_midpoint_on_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.probing.curvature.IMAGES", 48)
    for split, rows in (("train", 300), ("test", 20)):
        head = next(pq.ParquetFile(REAL_CIFAR10 / f"{split}.parquet").iter_batches(rows))
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_batches([head]), tmp_path / "cifar10" / f"{split}.parquet")
    key = fingerprint("cifar10", tmp_path, tmp_path / "cache")
    data = open_data("cifar10", key, tmp_path, tmp_path / "cache")
    splits = split_data(data, Data("cifar10", key, 0.1), torch.device("cpu"), None, "float32")
    torch.manual_seed(9)
    a, b = Halves().eval(), Halves().eval()
    with torch.no_grad():
        for network in (a, b):
            network.conv.weight[:, 0] = 0  # pruned in both
    how = PathEvaluation(points=3, batch_size=50, bn_images=200, bn_momentum=None)
    stage = PairProbe(Setting("sound", Data("cifar10", key, 0.1), Model("halves")), "curvature", path=how)
    numbers = measured(stage, Pair(a, b, ("conv.weight",), splits, seed=1, path=how))
    assert len(numbers) == 15
    assert numbers == measured(stage, Pair(a, b, ("conv.weight",), splits, seed=1, path=how))
    swapped = measured(stage, Pair(b, a, ("conv.weight",), splits, seed=1, path=how))
    assert swapped["curvature_b_trace"] == numbers["curvature_a_trace"] != numbers["curvature_b_trace"]
    for point in ("a", "midpoint", "b"):
        value, residual = (numbers[f"curvature_{point}_top_eigenvalue{word}"] for word in ("", "_residual"))
        assert 0 < residual < 0.2 * value
        assert numbers[f"curvature_{point}_trace"] > value
