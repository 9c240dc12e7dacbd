"""The linear-mode-connectivity probe: error along the straight path between two solutions, and at mixtures of more."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from workers.data.splits import Splits
from workers.stages import Landscape, Probe
from workers.training.evaluation import Outcomes, Reestimation, evaluate, reestimate_statistics

NETWORKS_BYTES = 4 << 30
State = Mapping[str, Tensor]


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


def mix(states: Sequence[State], shares: Sequence[float]) -> dict[str, Tensor]:
    """The sum of share * state for every floating tensor of some state dicts, whatever layer it belongs to.

    Counters, which are not floating, are the first one's.

    Raises:
        ValueError: they do not hold the same tensors.
    """
    check_alike(states)
    mixed = {}
    for name, tensor in states[0].items():
        mixed[name] = shares[0] * tensor if tensor.is_floating_point() else tensor
        for state, share in zip(states[1:], shares[1:], strict=True):
            if tensor.is_floating_point():
                mixed[name] = mixed[name] + share * state[name]
    return mixed


def check_alike(states: Sequence[State]) -> None:
    """ValueError unless all state dicts hold tensors of the same names and shapes."""
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(each != shapes[0] for each in shapes):
        raise ValueError("the networks of a probe differ in their tensors")


def interpolate(a: State, b: State, weight: float) -> dict[str, Tensor]:
    """weight * a + (1 - weight) * b, as ``mix`` does it."""
    return mix((a, b), (weight, 1 - weight))


def outcomes_by_load(
    model: nn.Module,
    states: Iterable[State],
    stage: Probe | Landscape,
    splits: Splits,
    before_batch: Callable[[], None] = lambda: None,
) -> Iterator[list[Outcomes]]:
    """The outcomes of networks on the test set, for as many at a time as fit into ``NETWORKS_BYTES`` together.

    Batch norm is re-estimated in every network. Each loaded batch serves all networks of a time.

    Args:
        before_batch: called before every batch; what it raises ends the probe.
    """
    how = Reestimation(stage.bn_images, stage.batch_size, stage.bn_momentum, stage.augmentation, stage.draw_seed)
    precision = stage.setting.precision
    at_once = max(1, NETWORKS_BYTES // sum(tensor.nbytes for tensor in model.state_dict().values()))
    left = iter(states)
    while networks := [_loaded(model, state) for state in islice(left, at_once)]:
        reestimate_statistics(networks, splits, how, precision, before_batch)
        yield evaluate(networks, splits, splits.test, precision, before_batch)


def _loaded(model: nn.Module, state: State) -> nn.Module:
    network = copy.deepcopy(model)
    network.load_state_dict(state)
    return network


def path_outcomes(
    model: nn.Module,
    pairs: Sequence[tuple[State, State]],
    probe: Probe,
    splits: Splits,
    before_batch: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[list[Outcomes]]]:
    """Every lambda, from 0 (b) to 1 (a), and for each pair (a, b) the outcomes there, as ``outcomes_by_load`` has them.

    All points of all pairs are measured together.
    """
    lambdas = [index / (probe.points - 1) for index in range(probe.points)]
    states = (interpolate(a, b, weight) for a, b in pairs for weight in lambdas)
    loads = outcomes_by_load(model, states, probe, splits, before_batch)
    outcomes = [point for load in loads for point in load]
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
    return [{"lambda": weight, **outcome_row(point)} for weight, point in zip(lambdas, outcomes, strict=True)]


def outcome_row(point: Outcomes) -> dict[str, float]:
    """Error and loss of one network, with their standard errors over the test images, as all tables have them."""
    return {
        "error_percent": point.error_percent,
        "error_standard_error_points": 100 * standard_error(point.error),
        "loss_nats": point.mean_loss_nats,
        "loss_standard_error_nats": standard_error(point.loss_nats),
    }


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
