"""Curvature of the training loss at two solutions and midway between them: largest Hessian eigenvalue, and trace.

Yao et al. (2020, "PyHessian"): power iteration with Hessian-vector products by double backward, and Hutchinson's
estimate of the trace (1990) with Rademacher draws. The Hessian is that of the subspace in which sparse training moves:
all parameters but the pruned weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from workers.data.augmentation import draw_epoch
from workers.devices.seeds import derive
from workers.probing.probes import Pair, probe
from workers.stages.execution import StageError
from workers.training.evaluation import evaluation_batch

IMAGES = 500
MOST_ITERATIONS, TOLERANCE = 100, 1e-3
DRAWS = 16
Product = Callable[[Tensor], Tensor]
"""Multiplies the Hessian by a vector, float (parameters,)."""


@dataclass(frozen=True)
class TopEigenvalue:
    """The largest eigenvalue of a symmetric matrix.

    Attributes:
        value: the Rayleigh quotient of the last vector.
        residual: norm of (H v - value v) for the unit vector v: an eigenvalue lies within it of ``value``.
        iterations: products that were needed.
    """

    value: float
    residual: float
    iterations: int


@probe("curvature", path=True)
def curvature(pair: Pair) -> dict[str, float]:
    """Curvature: largest Hessian eigenvalue and trace of the loss at both solutions and midway between them.

    The loss is the mean cross-entropy in nats over ``IMAGES`` training images, the same for all pairs, not augmented,
    in evaluation mode; weight decay is no part of it. Batch-norm statistics are re-estimated at each of the three
    points, as in the barrier beside it. Midway, a weight counts as pruned if both solutions pruned it. All in float32.

    Returns:
        For ``a``, ``midpoint`` and ``b``: ``top_eigenvalue``, ``top_eigenvalue_residual``,
        ``top_eigenvalue_iterations``, ``trace`` and ``trace_standard_error`` over the draws. The iteration ends when
        the eigenvalue changes by less than ``TOLERANCE`` of itself, and after ``MOST_ITERATIONS``.

    Raises:
        StageError: an operation of the network has no second derivative.
    """
    batches = list(_batches(pair))
    numbers: dict[str, float] = {}
    for name, share in (("a", 1.0), ("midpoint", 0.5), ("b", 0.0)):
        network = pair.reestimated(pair.at(share))
        product, kept = hessian(network, kept_at(pair, share), batches, pair.beat)
        start = torch.randn(len(kept), generator=pair.generator("curvature", "start")).to(kept.device)
        top = top_eigenvalue(product, start * kept)
        signs = pair.generator("curvature", "trace")
        draws = (torch.randint(0, 2, (len(kept),), generator=signs).to(kept) * 2 - 1 for _ in range(DRAWS))
        trace, error = hutchinson_trace(product, (draw * kept for draw in draws))
        numbers |= {
            f"{name}_top_eigenvalue": top.value,
            f"{name}_top_eigenvalue_residual": top.residual,
            f"{name}_top_eigenvalue_iterations": top.iterations,
            f"{name}_trace": trace,
            f"{name}_trace_standard_error": error,
        }
    return numbers


def hessian(
    network: nn.Module,
    kept: dict[str, Tensor],
    batches: Sequence[tuple[Tensor, Tensor]],
    beat: Callable[[], None] = lambda: None,
) -> tuple[Product, Tensor]:
    """The Hessian of the mean cross-entropy over batches, in the subspace of the kept parameters.

    Args:
        network: in evaluation mode.
        kept: by name of a prunable weight, which of its elements are not pruned; all other parameters are kept.
        batches: images as the network sees them, and labels.
        beat: called before every batch; it may raise to end the probe.

    Returns:
        The product with vectors of that subspace, and which elements lie in it: 1 or 0, of the parameters' type.
    """
    parameters = dict(network.named_parameters())
    weights = [*parameters.values()]
    mask = torch.cat([kept.get(name, torch.ones_like(p)).flatten().to(p) for name, p in parameters.items()])
    images_in_all = sum(len(labels) for _, labels in batches)

    def product(vector: Tensor) -> Tensor:
        parts = [
            part.view_as(weight)
            for part, weight in zip(vector.split([w.numel() for w in weights]), weights, strict=True)
        ]
        total = torch.zeros_like(vector)
        for images, labels in batches:
            beat()
            # the fused kernels of attention have no second derivative
            with sdpa_kernel(SDPBackend.MATH):
                loss = F.cross_entropy(network(images), labels, reduction="sum") / images_in_all
                try:
                    total += torch.cat([each.flatten() for each in _product(loss, weights, parts)])
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError as error:
                    raise StageError(
                        f"curvature needs second derivatives, and an operation of this network has none ({error}); "
                        f"leave curvature out of probes"
                    ) from error
        return total * mask

    return product, mask


def _product(loss: Tensor, weights: Sequence[Tensor], vector: Sequence[Tensor]) -> Sequence[Tensor]:
    """Multiply the loss's Hessian by a vector: differentiate its gradient's product with the vector."""
    gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    inner = torch.stack([(gradient * part).sum() for gradient, part in zip(gradients, vector, strict=True)]).sum()
    for weight in weights:
        weight.grad = None
    if inner.requires_grad:  # unlike a loss that is linear in its weights
        # autograd.grad would skip an operation without a second derivative, and the product would lack its part
        inner.backward()
    return [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]


def top_eigenvalue(product: Product, start: Tensor) -> TopEigenvalue:
    """Find the largest eigenvalue by power iteration.

    The iteration finds the eigenvalue of the largest magnitude. If that is negative, it runs again on the matrix
    shifted by it, whose eigenvalues are all at least 0.

    Args:
        start: a vector with a part in every direction.
    """
    largest = _power_iteration(product, start, 0.0)
    if largest.value >= 0:
        return largest
    shifted = _power_iteration(product, start, -largest.value)
    return TopEigenvalue(shifted.value, shifted.residual, largest.iterations + shifted.iterations)


def _power_iteration(product: Product, start: Tensor, shift: float) -> TopEigenvalue:
    """Iterate with H + shift; the value is H's."""
    vector, last = start / start.norm(), float("inf")
    iterations = 0
    while iterations < MOST_ITERATIONS:
        iterations += 1
        times = product(vector)
        value = float(torch.dot(vector, times))
        residual = float((times - value * vector).norm())
        moved = times + shift * vector
        length = float(moved.norm())
        if length == 0 or abs(value - last) <= TOLERANCE * abs(value):
            break
        vector, last = moved / length, value
    return TopEigenvalue(value, residual, iterations)


def hutchinson_trace(product: Product, draws: Iterator[Tensor]) -> tuple[float, float]:
    """Estimate a trace as the mean of z'Hz over Rademacher draws z (Hutchinson 1990), with its standard error."""
    values = torch.tensor([float(torch.dot(draw, product(draw))) for draw in draws], dtype=torch.float64)
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def kept_at(pair: Pair, share: float) -> dict[str, Tensor]:
    """Which prunable weights are not pruned at a point of the path."""
    masks = [mask for mask, weight in zip(pair.masks(), (share, 1 - share), strict=True) if weight > 0]
    return {name: torch.stack([mask[name] for mask in masks]).any(0) for name in pair.prunable}


def _batches(pair: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    split = pair.splits.train
    draws = draw_epoch(len(split), derive(pair.seed, "training images"), 0, "none")[:IMAGES]
    # a second derivative keeps about twice as much as a training step, and an evaluation keeps nothing
    for batch in split.drawn(draws, evaluation_batch(split) // 2, "none"):
        pair.beat()
        yield pair.splits.normalized(batch.images), batch.labels
