"""The linear-mode-connectivity probe: error along the straight path between two solutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.data.batches import Splits
from workers.evaluation import Outcomes, evaluate, reestimate_statistics
from workers.execution import Interrupted
from workers.stages import Probe


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
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    probe: Probe,
    splits: Splits,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[list[float], list[Outcomes]]:
    """Every lambda, from 0 (b) to 1 (a), with its outcomes on the test set after re-estimating batch norm.

    Raises:
        Interrupted: it was asked to stop; a probe is short and starts anew.
    """
    lambdas = [index / (probe.points - 1) for index in range(probe.points)]
    outcomes = []
    for weight in lambdas:
        if should_stop():
            raise Interrupted
        model.load_state_dict(interpolate(a, b, weight))
        reestimate_statistics(
            model,
            splits,
            images=probe.bn_images,
            batch_size=probe.batch_size,
            momentum=probe.bn_momentum,
            augmentation=probe.augmentation,
            draw_seed=probe.draw_seed,
        )
        outcomes.append(evaluate(model, splits, splits.test))
    return lambdas, outcomes


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
