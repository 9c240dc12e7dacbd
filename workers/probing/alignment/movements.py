"""What operations make of labels that only put elements elsewhere: labels go with their elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from workers.probing.alignment.rules import RULES, Arguments, Rule, Shape, no_rule, rule, tensors
from workers.probing.alignment.units import FIXED, Units
from workers.probing.alignment.values import Value, compact, largest, product, settled, support

RESHAPES = ("view", "_unsafe_view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze")
EXPANSIONS = ("expand", "expand_as", "broadcast_to")
COPIES = ("contiguous", "clone", "alias", "detach", "to", "_to_copy", "type_as")
DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout")
SELECTIONS = ("select", "slice", "split", "split_with_sizes", "chunk", "unbind", "narrow")
MOVES = ("transpose", "permute", "t", "movedim", "swapaxes", "roll", "flip", "repeat")
SHUFFLES = ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
PADDINGS = ("pad", "constant_pad_nd")


def _moved(move: Callable[[Tensor, Arguments, Shape], Any]) -> Rule:
    """The rule of an operator that puts elements elsewhere: labels go with them."""

    def rule_(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
        value = tensors(arguments)[0]
        parts: list[list[Tensor]] = [[] for _ in shapes]
        for label in value.coordinates:
            results = move(label.expand(value.shape), arguments, shapes[0])
            for part, result in zip(parts, [results] if isinstance(results, Tensor) else results, strict=True):
                part.append(compact(result))
        values = [settled(units, Value(shape, tuple(part))) for shape, part in zip(shapes, parts, strict=True)]
        units.uses.extend(label for each in values for label in each.coordinates)
        return values

    return rule_


def _by_operator(name: str) -> Callable[[Tensor, Arguments, Shape], Any]:
    def move(label: Tensor, arguments: Arguments, shape: Shape) -> Any:
        others = [item for item in arguments.values() if not isinstance(item, Value)]
        return getattr(torch.ops.aten, name)(label, *others)

    return move


def _padded(label: Tensor, arguments: Arguments, shape: Shape) -> Tensor:
    return torch.constant_pad_nd(label, arguments["pad"], FIXED)


RULES |= {name: _moved(_by_operator(name)) for name in (*SELECTIONS, *MOVES, *SHUFFLES)}
RULES |= {name: _moved(lambda label, arguments, shape: label.reshape(shape)) for name in RESHAPES}
RULES |= {name: _moved(lambda label, arguments, shape: label.expand(shape)) for name in EXPANSIONS}
RULES |= {name: _moved(lambda label, arguments, shape: label) for name in (*COPIES, *DROPOUTS)}
RULES |= {name: _moved(_padded) for name in PADDINGS}


@rule("index", "index_select", "embedding")
def look_up(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Rows of a table by number: what lies along its other axes keeps its labels."""
    table = arguments["weight" if "weight" in arguments else "self"]
    indices = arguments["indices"] if isinstance(arguments.get("indices"), list | tuple) else [None]
    if len(indices) != 1 or arguments.get("dim", 0) != 0:
        return no_rule(units, arguments, shapes, "index")
    for label in settled(units, table).coordinates:
        if 0 in support(label):
            units.fix(label, "rows of a table")
    ones = (1,) * (len(shapes[0]) - len(table.shape) + 1)
    kept = settled(units, table).coordinates
    return [Value(shapes[0], tuple(label.view(*ones, *label.shape[1:]) for label in kept))]


@rule("cat", "concat", "concatenate")
def concatenate(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Put tensors one after another along an axis: units along it follow each other, others are tied."""
    values = [settled(units, value) for value in arguments["tensors"]]
    axis = arguments.get("dim", 0) % len(shapes[0])
    # a pointwise product of single slices ties what the tensors share
    slices = [_slice(value, axis) for value in values]
    _, shared = product(units, slices)
    along = [[label for label in value.coordinates if axis in support(label)] for value in values]
    if any(len(labels) > 1 or support(label) != {axis} for labels in along for label in labels):
        return no_rule(units, arguments, shapes, "cat")
    labels = [*largest(shared)]
    if any(along):
        shape = [size if number == axis else 1 for number, size in enumerate(shapes[0])]
        parts = [
            labels_[0].reshape(-1) if labels_ else torch.full((value.shape[axis],), FIXED)
            for value, labels_ in zip(values, along, strict=True)
        ]
        labels.append(torch.cat(parts).view(shape))
    return [settled(units, Value(shapes[0], tuple(labels)))]


@rule("stack")
def stack(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Put tensors one after another along a new axis: their units are tied."""
    axis = arguments.get("dim", 0) % len(shapes[0])
    values = [
        Value((*each.shape[:axis], 1, *each.shape[axis:]), tuple(label.unsqueeze(axis) for label in each.coordinates))
        for each in arguments["tensors"]
    ]
    return concatenate(units, {"tensors": values, "dim": axis}, shapes)


def _slice(value: Value, axis: int) -> Value:
    shape = tuple(1 if number == axis else size for number, size in enumerate(value.shape))
    return Value(shape, tuple(label for label in value.coordinates if axis not in support(label)))
