"""What convolutions make of labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from workers.probing.alignment.rules import Arguments, Shape, no_rule, rule, with_bias
from workers.probing.alignment.units import Units
from workers.probing.alignment.values import Value, contract, settled, support


@rule("conv1d", "conv2d", "conv3d", "convolution")
def convolution(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """A convolution: it mixes the channels of a group, at neighbouring positions.

    In a depthwise convolution an output moves with its channel; in a grouped one, whole groups may be exchanged too.
    """
    x, weight, groups = arguments["input"], arguments["weight"], arguments.get("groups", 1)
    if arguments.get("transposed"):
        return no_rule(units, arguments, shapes, "transposed convolution")
    if groups == 1 and weight.shape[2:] == (1,) * len(weight.shape[2:]) and x.shape[2:] == shapes[0][2:]:
        # every position alone: what moves in space still does
        space = range(3, 1 + len(x.shape))
        out = contract(units, [x, _flat(weight)], [[0, 2, *space], [1, 2]], [0, 1, *space], shapes[0])
        return [with_bias(units, out, arguments.get("bias"), 1)]
    for label in (label for value in (x, weight) for label in settled(units, value).coordinates):
        if any(axis > 1 for axis in support(label)):
            units.fix(label, "a position in space")
    x, weight = _flat(settled(units, x)), _flat(settled(units, weight))
    outputs, channels = weight.shape
    if groups == 1:
        out = contract(units, [x, weight], [[0, 2], [1, 2]], [0, 1], (x.shape[0], outputs))
    else:
        by_group = _viewed(x, x.shape[0], groups, channels), _viewed(weight, groups, outputs // groups, channels)
        out = contract(units, by_group, [[0, 1, 3], [1, 2, 3]], [0, 1, 2], (x.shape[0], groups, outputs // groups))
        out = settled(units, _viewed(out, x.shape[0], outputs))
    ones = (1,) * (len(shapes[0]) - 2)
    labels = tuple(label.view(*label.shape, *ones) for label in out.coordinates)
    return [with_bias(units, Value(shapes[0], labels), arguments.get("bias"), 1)]


def grouped_weight(units: Units, shape: Sequence[int], groups: int) -> tuple[Tensor, ...]:
    """Coordinates of a grouped convolution's weight: its outputs, and each group's own input channels."""
    outputs, channels = shape[:2]
    rest = (1,) * (len(shape) - 2)
    inputs = units.fresh(groups, channels).repeat_interleave(outputs // groups, 0)
    return units.fresh(outputs).view(outputs, 1, *rest), inputs.view(outputs, channels, *rest)


def _flat(value: Value) -> Value:
    """A value without its axes in space."""
    return Value(value.shape[:2], tuple(label.reshape(label.shape[:2]) for label in value.coordinates))


def _viewed(value: Value, *shape: int) -> Value:
    return Value(shape, tuple(label.expand(value.shape).reshape(shape) for label in value.coordinates))
