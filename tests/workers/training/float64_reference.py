"""The reference: the method's training in float64 NumPy, with every gradient written by hand.

It follows docs/method.md, and torch's conventions where the method only names a layer or an optimizer: batch norm's
running variance is unbiased, its momentum 0.1; SGD's momentum has no dampening. It imports neither torch nor this
project's rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arrays = dict[str, Array]
Masks = Mapping[str, NDArray[np.bool_]]


@dataclass
class Pass:
    """A forward and backward pass.

    Attributes:
        weights: parameters as layers see them: pruned weights are zero.
        statistics: running statistics, which the forward pass updates.
        alpha: weight of psi's initialisation in the interpolation, in all normalization layers; 0 is plain psi.
        gradients: of ``weights``, from the backward pass.
    """

    weights: Arrays
    statistics: Arrays
    alpha: float
    gradients: Arrays = field(default_factory=dict)


Back = Callable[[Array], Array]
"""Maps the gradient of a layer's output to that of its input."""

Layer = Callable[[Pass, Array], tuple[Array, Back]]


def chain(*layers: Layer) -> Layer:
    def forward(at: Pass, x: Array) -> tuple[Array, Back]:
        backs = []
        for layer in layers:
            x, back = layer(at, x)
            backs.append(back)

        def back_through(d: Array) -> Array:
            for back in reversed(backs):
                d = back(d)
            return d

        return x, back_through

    return forward


def added(one: Layer, two: Layer) -> Layer:
    """The sum of two layers' outputs for one input: a residual block and its shortcut."""

    def forward(at: Pass, x: Array) -> tuple[Array, Back]:
        (y1, back1), (y2, back2) = one(at, x), two(at, x)
        return y1 + y2, lambda d: back1(d) + back2(d)

    return forward


def identity(at: Pass, x: Array) -> tuple[Array, Back]:
    return x, lambda d: d


def relu(at: Pass, x: Array) -> tuple[Array, Back]:
    return np.maximum(x, 0), lambda d: d * (x > 0)


def flatten(at: Pass, x: Array) -> tuple[Array, Back]:
    return x.reshape(len(x), -1), lambda d: d.reshape(x.shape)


def average(at: Pass, x: Array) -> tuple[Array, Back]:
    """Average over height and width."""
    pixels = x.shape[2] * x.shape[3]
    return x.mean((2, 3)), lambda d: np.broadcast_to(d[:, :, None, None] / pixels, x.shape)


def linear(name: str) -> Layer:
    def forward(at: Pass, x: Array) -> tuple[Array, Back]:
        weight = at.weights[f"{name}.weight"]

        def back(d: Array) -> Array:
            at.gradients[f"{name}.weight"] = d.T @ x
            at.gradients[f"{name}.bias"] = d.sum(0)
            return d @ weight

        return x @ weight.T + at.weights[f"{name}.bias"], back

    return forward


def convolution(name: str, stride: tuple[int, int] = (1, 1)) -> Layer:
    """Convolution without bias, padded to keep height and width at stride 1."""
    down, right = stride

    def forward(at: Pass, x: Array) -> tuple[Array, Back]:
        weight = at.weights[f"{name}.weight"]
        rows, columns = weight.shape[2:]
        top, left = rows // 2, columns // 2
        padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
        windows = sliding_window_view(padded, (rows, columns), (2, 3))[:, :, ::down, ::right]
        y = np.einsum("nihwrc,oirc->nohw", windows, weight, optimize=True)

        def back(d: Array) -> Array:
            at.gradients[f"{name}.weight"] = np.einsum("nohw,nihwrc->oirc", d, windows, optimize=True)
            dx, (height, width) = np.zeros_like(padded), y.shape[2:]
            for r in range(rows):
                for c in range(columns):
                    part = np.einsum("nohw,oi->nihw", d, weight[:, :, r, c], optimize=True)
                    dx[:, :, r : r + down * height : down, c : c + right * width : right] += part
            return dx[:, :, top : top + x.shape[2], left : left + x.shape[3]]

        return y, back

    return forward


def batch_norm(name: str) -> Layer:
    def forward(at: Pass, x: Array) -> tuple[Array, Back]:
        axes = (0, *range(2, x.ndim))
        drawn = x.size // x.shape[1]
        now = {"mean": x.mean(axes), "var": x.var(axes) * drawn / (drawn - 1)}
        for statistic, value in now.items():
            running = at.statistics[f"{name}.running_{statistic}"]
            at.statistics[f"{name}.running_{statistic}"] = 0.9 * running + 0.1 * value
        at.statistics[f"{name}.num_batches_tracked"] = at.statistics[f"{name}.num_batches_tracked"] + 1
        by_channel = (-1, *[1] * (x.ndim - 2))
        return normalized(at, name, x, axes=axes, summed=axes, eps=1e-5, shape=by_channel)

    return forward


def layer_norm(name: str, eps: float) -> Layer:
    """Over the last axis."""

    def forward(at: Pass, x: Array) -> tuple[Array, Back]:
        return normalized(at, name, x, axes=(-1,), summed=tuple(range(x.ndim - 1)), eps=eps, shape=(-1,))

    return forward


def normalized(
    at: Pass,
    name: str,
    x: Array,
    *,
    axes: tuple[int, ...],
    summed: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...],
) -> tuple[Array, Back]:
    """x standardised over ``axes``, with a scale and a shift that are the same over the axes ``summed``.

    Both are interpolated inside the graph: scale = alpha * 1 + (1 - alpha) * gamma, shift = (1 - alpha) * beta.
    """
    gamma, beta = at.weights[f"{name}.weight"], at.weights[f"{name}.bias"]
    scale = (at.alpha * 1 + (1 - at.alpha) * gamma).reshape(shape)
    shift = ((1 - at.alpha) * beta).reshape(shape)
    deviation = np.sqrt(x.var(axes, keepdims=True) + eps)
    z = (x - x.mean(axes, keepdims=True)) / deviation

    def back(d: Array) -> Array:
        at.gradients[f"{name}.weight"] = (1 - at.alpha) * (d * z).sum(summed)
        at.gradients[f"{name}.bias"] = (1 - at.alpha) * d.sum(summed)
        dz = d * scale
        return (dz - dz.mean(axes, keepdims=True) - z * (dz * z).mean(axes, keepdims=True)) / deviation

    return z * scale + shift, back


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """Its mean over the batch in nats, and its gradient."""
    shifted = logits - logits.max(1, keepdims=True)
    chances = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    right = np.eye(logits.shape[1])[labels]
    return float(-np.log((chances * right).sum(1)).mean()), (chances - right) / len(labels)


@dataclass(frozen=True)
class Sgd:
    """With momentum.

    Attributes:
        moments: what is remembered of each parameter; it begins at zero.
    """

    momentum: float
    decay: float
    moments: tuple[str, ...] = ("momentum_buffer",)

    def move(self, rate: float, step: int, gradient: Array, moments: Arrays) -> Array:
        """What is taken from a parameter in step number ``step``, from 1; its ``moments`` are renewed."""
        moments["momentum_buffer"] = self.momentum * moments["momentum_buffer"] + gradient
        return rate * moments["momentum_buffer"]


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba's; its weight decay is in the gradient, as SGD's is."""

    decay: float
    moments: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def move(self, rate: float, step: int, gradient: Array, moments: Arrays) -> Array:
        """As SGD's."""
        moments["exp_avg"] = 0.9 * moments["exp_avg"] + 0.1 * gradient
        moments["exp_avg_sq"] = 0.999 * moments["exp_avg_sq"] + 0.001 * gradient**2
        mean, square = moments["exp_avg"] / (1 - 0.9**step), moments["exp_avg_sq"] / (1 - 0.999**step)
        return rate * mean / (np.sqrt(square) + 1e-8)


class Reference:
    """A training, step by step.

    Attributes:
        parameters, statistics: the current state of the network.
        moments: of the optimizer, by parameter.
        sums: of the loss and of correct answers since they were last set to zero.
    """

    def __init__(self, network: Layer, state: Mapping[str, Array], masks: Masks, optimizer: Sgd | Adam) -> None:
        learned = {name: array for name, array in state.items() if "running_" not in name and "num_batches" not in name}
        self.parameters = {name: array * masks.get(name, 1) for name, array in learned.items()}
        self.statistics = {name: array for name, array in state.items() if name not in learned}
        self.moments = {
            name: {moment: np.zeros_like(array) for moment in optimizer.moments} for name, array in learned.items()
        }
        self.sums = np.zeros(2)
        self._network, self._masks, self._optimizer = network, masks, optimizer
        self._steps = 0

    def step(self, images: Array, labels: NDArray[np.int64], *, alpha: float, rate: float) -> None:
        """One step on a batch; ``alpha`` is 0 without interpolation."""
        self._steps += 1
        weights = {name: array * self._masks.get(name, 1) for name, array in self.parameters.items()}
        at = Pass(weights, self.statistics, alpha)
        logits, back = self._network(at, images)
        loss, gradient = cross_entropy(logits, labels)
        back(gradient)
        for name, array in self.parameters.items():
            # weight decay covers all parameters, also psi and biases; pruned weights have neither gradient nor decay
            gradient = (at.gradients[name] + self._optimizer.decay * array) * self._masks.get(name, 1)
            moved = self._optimizer.move(rate, self._steps, gradient, self.moments[name])
            self.parameters[name] = (array - moved) * self._masks.get(name, 1)
        self.sums += [loss * len(labels), np.sum(logits.argmax(1) == labels)]


def kept_after_pruning(weights: Arrays, masks: Masks, fraction: float) -> dict[str, NDArray[np.bool_]]:
    """Keep the int((1 - fraction) * n) largest magnitudes of the n survivors of all layers together."""
    places = ((name, tuple(place)) for name, mask in masks.items() for place in np.argwhere(mask))
    alive = sorted(((abs(weights[name][place]), name, place) for name, place in places), reverse=True)
    kept = {name: np.zeros_like(mask) for name, mask in masks.items()}
    for _, name, place in alive[: int((1 - fraction) * len(alive))]:
        kept[name][place] = True
    return kept
