"""The linear-mode-connectivity probe: error along the straight path between two solutions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workers.data.splits import Splits
from workers.evaluation import Outcomes, Reestimation, evaluate, reestimate_statistics
from workers.stages import Probe

NETWORKS_BYTES = 4 << 30


@dataclass(frozen=True)
class Barrier:
    """A barrier along a path.

    Attributes:
        height: max over lambda of value(lambda) - (value(0) + value(1)) / 2.
        standard_error: of that height, over the test images, which the three values share (paired).
        at: the lambda of the maximum.
    """

    height: float
    standard_error: float
    at: float


def interpolate(a: Mapping[str, Tensor], b: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    """weight * a + (1 - weight) * b for every floating tensor of two state dicts, whatever layer it belongs to.

    Counters, which are not floating, are a's.

    Raises:
        ValueError: the two do not hold the same tensors.
    """
    if {k: t.shape for k, t in a.items()} != {k: t.shape for k, t in b.items()}:
        raise ValueError("the two networks of a probe differ in their tensors")
    return {name: weight * a[name] + (1 - weight) * b[name] if a[name].is_floating_point() else a[name] for name in a}


def path_outcomes(
    model: nn.Module,
    pairs: Sequence[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]],
    probe: Probe,
    splits: Splits,
    before_batch: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[list[Outcomes]]]:
    """Every lambda, from 0 (b) to 1 (a), and for each pair (a, b) the outcomes there on the test set.

    Batch norm is re-estimated at every point. Each loaded batch serves all points of all pairs, as far as their
    networks fit into ``NETWORKS_BYTES`` together.

    Args:
        before_batch: called before every batch; what it raises ends the probe.
    """
    lambdas = [index / (probe.points - 1) for index in range(probe.points)]
    how = Reestimation(probe.bn_images, probe.batch_size, probe.bn_momentum, probe.augmentation, probe.draw_seed)
    precision = probe.setting.precision
    points = [(pair, weight) for pair in pairs for weight in lambdas]
    outcomes: list[Outcomes] = []
    at_once = max(1, NETWORKS_BYTES // sum(tensor.nbytes for tensor in model.state_dict().values()))
    for start in range(0, len(points), at_once):
        some = points[start : start + at_once]
        networks = [copy.deepcopy(model) for _ in some]
        for network, ((a, b), weight) in zip(networks, some, strict=True):
            network.load_state_dict(interpolate(a, b, weight))
        reestimate_statistics(networks, splits, how, precision, before_batch)
        outcomes += evaluate(networks, splits, splits.test, precision, before_batch)
    return lambdas, [outcomes[start : start + probe.points] for start in range(0, len(outcomes), probe.points)]


def barrier(lambdas: Sequence[float], values: Sequence[Tensor]) -> Barrier:
    """The barrier of per-image values along a path.

    Args:
        values: for each lambda, one value per test image (error in 0..1, or loss); lambda 0 first, 1 last.
    """
    ends = (values[0] + values[-1]) / 2
    heights = torch.stack([value.mean() for value in values]) - ends.mean()
    peak = int(heights.argmax())
    return Barrier(float(heights[peak]), standard_error(values[peak] - ends), lambdas[peak])


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of per-image values."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def curve_rows(lambdas: Sequence[float], outcomes: Sequence[Outcomes]) -> list[dict[str, Any]]:
    """A row of ``probe.parquet`` for each lambda."""
    return [
        {
            "lambda": weight,
            "error_percent": point.error_percent,
            "error_standard_error_points": 100 * standard_error(point.error),
            "loss_nats": point.mean_loss_nats,
            "loss_standard_error_nats": standard_error(point.loss_nats),
        }
        for weight, point in zip(lambdas, outcomes, strict=True)
    ]


def barrier_row(lambdas: Sequence[float], outcomes: Sequence[Outcomes]) -> dict[str, Any]:
    """The row of ``barrier.parquet``: the barrier of the error and that of the loss."""
    error = barrier(lambdas, [point.error for point in outcomes])
    loss = barrier(lambdas, [point.loss_nats for point in outcomes])
    return {
        "barrier_points": 100 * error.height,
        "barrier_standard_error_points": 100 * error.standard_error,
        "barrier_lambda": error.at,
        "loss_barrier_nats": loss.height,
        "loss_barrier_standard_error_nats": loss.standard_error,
    }
