"""The linear-mode-connectivity probe: error along the straight path between two solutions, and its barrier."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workers.data.splits import Splits
from workers.stages import Landscape, PathEvaluation, Probe
from workers.stages.execution import StageError
from workers.training.evaluation import Outcomes, Reestimation, evaluate, reestimate_statistics

NETWORKS_BYTES = 4 << 30
RESAMPLES = 1000
RESAMPLES_AT_ONCE = 100  # ImageNet: 40 MB of weights
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Barrier:
    """A barrier along a path.

    Attributes:
        height: max over lambda of value(lambda) - (value(0) + value(1)) / 2 (Frankle et al. 2020, section 2).
        above_chord: max over lambda of value(lambda) - ((1 - lambda) value(0) + lambda value(1)) (Entezari et al. 2022,
            definition 2.1): never negative, and 0 on a straight slope.
        standard_error: of ``height`` over the test images. It includes the choice of the maximum's lambda.
        at: the lambda of ``height``'s maximum.
    """

    height: float
    above_chord: float
    standard_error: float
    at: float


def mix(states: Sequence[State], shares: Sequence[float]) -> dict[str, Tensor]:
    """Mix state dicts: the sum of share * state for every floating tensor; counters come from the first state.

    Raises:
        StageError: the states differ in the names or shapes of their tensors.
    """
    check_alike(states)
    mixed = dict(states[0])
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            mixed[name] = reduce(torch.add, (share * s[name] for s, share in zip(states, shares, strict=True)))
    return mixed


def check_alike(states: Sequence[State]) -> None:
    """Raise StageError if state dicts differ in the names or shapes of their tensors."""
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise StageError("the networks of a probe differ in their tensors")


def outcomes_by_group(
    model: nn.Module,
    states: Iterable[State],
    stage: Probe | PathEvaluation | Landscape,
    splits: Splits,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[list[Outcomes]]:
    """Evaluate networks on the test set, in groups that fit into ``NETWORKS_BYTES``, with batch norm re-estimated.

    Each loaded batch serves all networks of a group.

    Args:
        states: state dicts of the networks.
        beat: called before every batch; it may raise to end the probe.

    Yields:
        The outcomes of each network of a group, group by group.
    """
    how = reestimation(stage)
    group_size = max(1, NETWORKS_BYTES // sum(tensor.nbytes for tensor in model.state_dict().values()))
    remaining = iter(states)
    while networks := [copy_with(model, state) for state in islice(remaining, group_size)]:
        reestimate_statistics(networks, splits, how, beat)
        yield evaluate(networks, splits, splits.test, beat)


def reestimation(stage: Probe | Landscape | PathEvaluation) -> Reestimation:
    """How a stage re-estimates batch-norm statistics."""
    return Reestimation(
        stage.bn_images, stage.batch_size, stage.bn_momentum, stage.augmentation, stage.draw_seed, stage.bn_reset
    )


def copy_with(model: nn.Module, state: State) -> nn.Module:
    """Copy a network with other tensors."""
    network = copy.deepcopy(model)
    network.load_state_dict(state)
    return network


def path_outcomes(
    model: nn.Module,
    pairs: Sequence[tuple[State, State]],
    probe: Probe | PathEvaluation,
    splits: Splits,
    beat: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[list[Outcomes]]]:
    """Evaluate the points of the paths between pairs (a, b) of networks, all together; see ``outcomes_by_group``.

    A network at the end of several paths, the same object in each pair, is evaluated once.

    Returns:
        The values of lambda, from 0 (b) to 1 (a); and for each pair, the outcomes at each lambda.
    """
    lambdas = [index / (probe.points - 1) for index in range(probe.points)]
    points: dict[Hashable, tuple[State, State, float]] = {}
    paths: list[list[Hashable]] = []
    for a, b in pairs:
        names: list[Hashable] = [{0.0: id(b), 1.0: id(a)}.get(weight, (id(a), id(b), weight)) for weight in lambdas]
        points |= zip(names, ((a, b, weight) for weight in lambdas), strict=True)
        paths.append(names)
    states = (mix((a, b), (weight, 1 - weight)) for a, b, weight in points.values())
    groups = outcomes_by_group(model, states, probe, splits, beat)
    outcomes = dict(zip(points, (point for group in groups for point in group), strict=True))
    return lambdas, [[outcomes[name] for name in names] for names in paths]


def barrier(lambdas: Sequence[float], values: Sequence[Tensor]) -> Barrier:
    """The barrier of per-image values along a path.

    Args:
        values: for each lambda from 0 to 1, one value per test image: the error (0 or 1) or the loss.
    """
    images = torch.stack(list(values)).double()
    along = torch.tensor(list(lambdas), dtype=torch.float64)
    means = images.mean(1)
    heights = means - (means[0] + means[-1]) / 2
    above_chord = means - torch.lerp(means[0], means[-1], along)
    peak = int(heights.argmax())
    return Barrier(float(heights[peak]), float(above_chord.max()), _error_of_maximum(images), lambdas[peak])


def _error_of_maximum(images: Tensor) -> float:
    """Standard error of the largest height above the mean of the ends, by the Bayesian bootstrap (Rubin 1981).

    Each resample weighs the test images anew, the same for the whole path, and takes its own maximum.

    Args:
        images: float64 (points, test images).
    """
    stream, peaks = np.random.default_rng(0), []
    for _ in range(0, RESAMPLES, RESAMPLES_AT_ONCE):
        weights = torch.from_numpy(stream.standard_exponential((images.shape[1], RESAMPLES_AT_ONCE)))
        means = images @ (weights / weights.sum(0))
        peaks.append((means - (means[0] + means[-1]) / 2).amax(0))
    return float(torch.cat(peaks).std())


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of per-image values."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def outcome_row(point: Outcomes) -> dict[str, float]:
    """Columns of a network's error and loss, with their standard errors over the test images."""
    return {
        "error_percent": point.error_percent,
        "error_standard_error_points": 100 * standard_error(point.error),
        "loss_nats": point.mean_loss_nats,
        "loss_standard_error_nats": standard_error(point.loss_nats),
    }


def barrier_row(lambdas: Sequence[float], outcomes: Sequence[Outcomes]) -> dict[str, Any]:
    """The row of ``barrier.parquet``: the barriers of error and loss."""
    error = barrier(lambdas, [point.error for point in outcomes])
    loss = barrier(lambdas, [point.loss_nats for point in outcomes])
    return {
        "barrier_points": 100 * error.height,
        "barrier_standard_error_points": 100 * error.standard_error,
        "barrier_lambda": error.at,
        "loss_barrier_nats": loss.height,
        "loss_barrier_standard_error_nats": loss.standard_error,
        "barrier_above_chord_points": 100 * error.above_chord,
        "loss_barrier_above_chord_nats": loss.above_chord,
    }
