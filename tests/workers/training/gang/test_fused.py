"""Batch norm of a gang, by tensor operations and by torch's kernels for GPUs: against torch's over the whole batch.

The kernels have no form for CPUs: formulas with their signatures and needs stand in for them. test_gpu.py runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.workers.devices.tape import Tape
from tests.workers.training.gang.gangs import normalised_in_gang
from workers.stages.execution import StageError
from workers.training.gang.batch_norm import GangBatchNorm
from workers.training.gang.member import Member

CHANNELS = 5
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)


def stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    assert dense(x)
    return x.mean((0, 2, 3)), (x.var((0, 2, 3), correction=0) + eps).rsqrt()


def gather_stats_with_counts(
    x: Tensor,
    means: Tensor,
    inverse_stds: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    assert x.dtype == means.dtype == counts.dtype == running_mean.dtype == torch.float32
    n, average, squares = torch.zeros(()), torch.zeros(CHANNELS), torch.zeros(CHANNELS)
    for mean, inverse_std, count in zip(means, inverse_stds, counts, strict=True):
        of_rank = ((1 / inverse_std).square() - eps) * count
        squares = squares + of_rank + (average - mean).square() * n * count / (n + count)
        average = (n * average + count * mean) / (n + count)
        n = n + count
    running_mean.lerp_(average, momentum)
    running_var.lerp_(squares / (n - 1), momentum)
    return average, (squares / n + eps).rsqrt()


def elemt(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse_std: Tensor, eps: float) -> Tensor:
    return (x - by_channel(mean)) * by_channel(inverse_std * weight) + by_channel(bias)


def backward_reduce(
    dy: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor, weight: Tensor, *wanted: bool
) -> tuple[Tensor, ...]:
    assert wanted == (True, True, True)
    assert dense(x)
    assert dy.stride() == x.stride()
    deviation = (dy * (x - by_channel(mean))).sum((0, 2, 3))
    return dy.sum((0, 2, 3)), deviation, deviation * inverse_std, dy.sum((0, 2, 3))


def backward_elemt(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    inverse_std: Tensor,
    weight: Tensor,
    sum_dy: Tensor,
    sum_dy_deviation: Tensor,
    counts: Tensor,
) -> Tensor:
    assert counts.dtype == torch.int32  # the kernel reads them by address
    assert counts.is_contiguous()
    of_deviation = (x - by_channel(mean)) * by_channel(inverse_std.square() * sum_dy_deviation / counts.sum())
    return (dy - by_channel(sum_dy / counts.sum()) - of_deviation) * by_channel(inverse_std * weight)


KERNELS = (stats, gather_stats_with_counts, elemt, backward_reduce, backward_elemt)
FORWARD, BACKWARD = ["stats", "gather_stats_with_counts", "elemt"], ["backward_reduce", "backward_elemt"]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that were called, in order."""
    called = []

    def recorded(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            called.append(kernel.__name__)
            return kernel(*arguments)

        return call

    for kernel in KERNELS:
        monkeypatch.setattr(torch, f"batch_norm_{kernel.__name__}", recorded(kernel))
    return called


def batch_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(CHANNELS)
    for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.data.uniform_(0.5, 2, generator=torch.Generator().manual_seed(CHANNELS))
    return norm


def shares_of(images: Sequence[int], x_format: str, dy_format: str) -> list[tuple[Tensor, Tensor]]:
    draws = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(sum(images), CHANNELS, 4, 3, generator=draws) for _ in range(2))
    formats = FORMATS[x_format], FORMATS[dy_format]
    return [
        (a.contiguous(memory_format=formats[0]), b.contiguous(memory_format=formats[1]))
        for a, b in zip(x.split(list(images)), dy.split(list(images)), strict=True)
    ]


def over_the_whole_batch(norm: nn.BatchNorm2d, shares: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    x, dy = (torch.cat(parts) for parts in zip(*shares, strict=True))
    output = norm(x.requires_grad_())
    output.backward(dy)
    gradients = {f"d_{name}": parameter.grad for name, parameter in norm.named_parameters()}
    return {"y": output.detach(), "dx": x.grad, **gradients, **dict(norm.named_buffers())}


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "by operations"])
@pytest.mark.parametrize("images", [(3, 3), (4, 2, 2), (2, 0)], ids=str)
@pytest.mark.parametrize(("x_format", "dy_format"), [("contiguous", "channels_last"), ("channels_last", "contiguous")])
def test_a_gang_normalises_as_one_device(
    images: Sequence[int],
    x_format: str,
    dy_format: str,
    fused: bool,
    called: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GangBatchNorm, "_fused", lambda norm, x: fused)
    shares = shares_of(images, x_format, dy_format)
    with Tape() as tape:
        by_rank = normalised_in_gang(batch_norm(), shares)
    assert not tape.reads_by_host
    per_pass = [name for count in images for name in ([*FORWARD, *BACKWARD] if count else FORWARD[1:2])]
    assert called == 3 * per_pass * fused
    expected = over_the_whole_batch(batch_norm(), shares)
    together = {
        name: torch.cat([rank[name] for rank in by_rank])
        if name in ("y", "dx")
        else sum(rank[name] for rank in by_rank) / (1 if name.startswith("d_") else len(by_rank))
        for name in expected
    }
    for name, tensor in expected.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-5, check_dtype=False, msg=name)
    for rank in by_rank:
        assert all(torch.equal(rank[name], by_rank[0][name]) for name in ("running_mean", "running_var"))


@pytest.mark.parametrize(
    ("options", "ranks", "fused"),
    [({}, 2, True), ({"affine": False}, 2, False), ({"momentum": None}, 2, False), ({}, 1, False)],
    ids=str,
)
def test_what_the_kernels_cannot_do_is_done_by_operations(options: dict[str, Any], ranks: int, fused: bool) -> None:
    norm = GangBatchNorm(nn.BatchNorm2d(CHANNELS, **options), Member(0, ranks))
    assert norm._fused(SimpleNamespace(is_cuda=True)) == fused  # type: ignore[arg-type]
    assert not norm._fused(SimpleNamespace(is_cuda=False))  # type: ignore[arg-type]


def test_a_batch_of_one_value_per_channel_has_no_variance() -> None:
    norm = GangBatchNorm(nn.BatchNorm2d(CHANNELS), Member(0, 2))
    with pytest.raises(StageError, match="more than one value per channel; change batch_size"):
        norm(torch.ones(1, CHANNELS, 1, 1))
