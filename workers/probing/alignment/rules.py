"""What operations make of labels: rules by the name of an ATen operator. An operator without a rule fixes its units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from workers.probing.alignment.units import Units
from workers.probing.alignment.values import Value, compact, contract, keep_blocks, largest, product, settled, support

Arguments = Mapping[str, Any]
"""Arguments by the operator's own names, with ``Value`` for tensors."""
Shape = tuple[int, ...]
Rule = Callable[[Units, Arguments, Sequence[Shape]], Sequence[Value]]
RULES: dict[str, Rule] = {}
REDUCTIONS = ["mean", "sum", "amax", "amin", "var", "std", "logsumexp", "linalg_vector_norm", "norm"]
POOLS = ["avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool", "upsample_nearest"]


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators by name, without the underscore of those that write in place."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def find_rule(operator: torch._ops.OpOverload) -> Rule:
    """The rule of an operator."""
    name = operator._schema.name.removeprefix("aten::")
    for known in (name, name.removesuffix("_")):
        if known in RULES:
            return RULES[known]
    if torch.Tag.pointwise in operator.tags or name.removesuffix("_") in ("copy", "hardswish"):
        return pointwise
    return lambda units, arguments, shapes: no_rule(units, arguments, shapes, name)


def no_rule(units: Units, arguments: Arguments, shapes: Sequence[Shape], name: str) -> Sequence[Value]:
    """Fix all units of an operation that no rule describes."""
    for value in tensors(arguments):
        for label in value.coordinates:
            units.fix(label, f"no rule for {name}")
    return [Value(shape) for shape in shapes]


def tensors(arguments: Arguments) -> list[Value]:
    """The tensors among arguments and in lists of them."""
    each = [item for value in arguments.values() for item in (value if isinstance(value, list | tuple) else [value])]
    return [item for item in each if isinstance(item, Value)]


def pointwise(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Functions of corresponding elements."""
    _, coordinates = product(units, tensors(arguments))
    return [settled(units, Value(shapes[0], largest(coordinates)))]


@rule(*REDUCTIONS)
def reduction(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Symmetric functions of the elements along some axes."""
    value = settled(units, next(iter(tensors(arguments))))
    rank = len(value.shape)
    dims = arguments.get("dim")
    dims = range(rank) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
    reduced = frozenset(dim % rank for dim in dims)
    coordinates = {support(label): label for label in value.coordinates}
    keep_blocks(units, coordinates, reduced)
    units.uses.extend(coordinates.values())
    kept = largest({axes: label for axes, label in coordinates.items() if not axes & reduced})
    if len(shapes[0]) < rank:
        kept = tuple(label.reshape([size for a, size in enumerate(label.shape) if a not in reduced]) for label in kept)
    return [settled(units, Value(shapes[0], kept))]


def pool(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Pooling over neighbours, or interpolation between them, along all axes but the first two."""
    value = settled(units, next(iter(tensors(arguments))))
    for label in value.coordinates:
        if any(axis > 1 for axis in support(label)):
            units.fix(label, "its positions are pooled")
    kept = settled(units, value).coordinates
    return [settled(units, Value(shape, kept)) for shape in shapes]


for name in POOLS:
    for spatial in ("1d", "2d", "3d"):
        RULES[name + spatial] = pool
RULES["upsample_bilinear2d"] = pool


@rule("linear")
def linear(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """A linear layer."""
    x, weight = arguments["input"], arguments["weight"]
    outer = range(len(x.shape) - 1)
    inner, output = len(outer), len(outer) + 1
    out = contract(units, [x, weight], [[*outer, inner], [output, inner]], [*outer, output], shapes[0])
    return [with_bias(units, out, arguments.get("bias"), len(out.shape) - 1)]


def with_bias(units: Units, value: Value, bias: Value | None, axis: int) -> Value:
    if bias is None:
        return value
    _, coordinates = product(units, [value, _along(bias, axis, len(value.shape))])
    return settled(units, Value(value.shape, largest(coordinates)))


def _along(vector: Value, axis: int, rank: int) -> Value:
    """A vector's labels along one axis of a tensor of some rank."""
    shape = tuple(vector.shape[0] if number == axis else 1 for number in range(rank))
    return Value(shape, tuple(label.view(shape) for label in vector.coordinates))


@rule("matmul", "bmm", "mm")
def matmul(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """A product of matrices, in batches."""
    a, b = tensors(arguments)
    if min(len(a.shape), len(b.shape)) < 2:
        return no_rule(units, arguments, shapes, "products with a vector")
    return [_matmul(units, a, b, shapes[0])]


def _matmul(units: Units, a: Value, b: Value, shape: Shape) -> Value:
    batch = max(len(a.shape), len(b.shape)) - 2
    rows, inner, columns = batch, batch + 1, batch + 2
    axes_a = [*range(batch + 2 - len(a.shape), batch), rows, inner]
    axes_b = [*range(batch + 2 - len(b.shape), batch), inner, columns]
    return contract(units, [a, b], [axes_a, axes_b], [*range(batch), rows, columns], shape)


@rule("einsum")
def einsum(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Einstein's sum, without ellipses and repeated letters in one operand."""
    inputs, _, output = arguments["equation"].replace(" ", "").partition("->")
    words = inputs.split(",")
    if "." in inputs or any(len({*word}) < len(word) for word in words):
        return no_rule(units, arguments, shapes, "einsum")
    number = {letter: place for place, letter in enumerate(sorted({*inputs} - {","}))}
    axes = [[number[letter] for letter in word] for word in words]
    return [contract(units, tensors(arguments), axes, [number[letter] for letter in output], shapes[0])]


@rule("scaled_dot_product_attention")
def attention(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Attention: queries and keys are tied within their head, and a head moves with its values."""
    query, key, value = (arguments[name] for name in ("query", "key", "value"))
    if arguments.get("enable_gqa"):
        return no_rule(units, arguments, shapes, "grouped-query attention")
    batch = [*range(len(query.shape) - 2)]
    rows, inner, columns = len(batch), len(batch) + 1, len(batch) + 2
    shape = (*query.shape[:-1], key.shape[-2])
    axes = [[*batch, rows, inner], [*batch, columns, inner]]
    scores = contract(units, [query, key], axes, [*batch, rows, columns], shape)
    if (mask := arguments.get("attn_mask")) is not None:
        _, coordinates = product(units, [scores, mask])
        scores = settled(units, Value(shape, largest(coordinates)))
    (scores,) = normalized(units, {"input": scores, "dim": -1}, [shape])
    return [_matmul(units, scores, value, shapes[0])]


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "rms_norm", "layer_norm", "native_layer_norm")
def normalized(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Softmax over an axis, or layer norm over the last ones: an element depends on its own and all others' values."""
    value, *affine = tensors(arguments)
    value, rank = settled(units, value), len(value.shape)
    last = len(arguments.get("normalized_shape", ()))
    reduced = frozenset(range(rank - last, rank) if last else {arguments["dim"] % rank})
    coordinates = {support(label): label for label in value.coordinates}
    keep_blocks(units, coordinates, reduced)
    units.uses.extend(coordinates.values())
    _, coordinates = product(units, [Value(value.shape, largest(coordinates)), *affine])
    return [settled(units, Value(value.shape, largest(coordinates))), *(Value(shape) for shape in shapes[1:])]


@rule("prelu")
def prelu(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """A rectifier with a learned slope for each channel."""
    value, slope = tensors(arguments)
    return pointwise(units, {"input": value, "slope": _along(slope, 1, len(value.shape))}, shapes)


@rule("batch_norm", "instance_norm")
def batch_norm(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Batch norm: every channel has its own statistics, over all other axes."""
    value, *by_channel = tensors(arguments)
    value, rank = settled(units, value), len(value.shape)
    for label in value.coordinates:
        if len(support(label)) > 1:
            units.fix(label, "batch norm mixes its axes")
    _, coordinates = product(units, [value, *(_along(each, 1, rank) for each in by_channel)])
    return [settled(units, Value(value.shape, largest(coordinates)))]


@rule("group_norm")
def group_norm(units: Units, arguments: Arguments, shapes: Sequence[Shape]) -> Sequence[Value]:
    """Group norm: channels stay within their group, and groups may be exchanged."""
    value, *by_channel = tensors(arguments)
    value, groups = settled(units, value), arguments["num_groups"]
    rank, channels = len(value.shape), value.shape[1]
    grouped = (value.shape[0], groups, channels // groups, *value.shape[2:])
    labels = [label.expand(-1, channels, *label.shape[2:]) for label in value.coordinates]
    coordinates = {
        support(label): label
        for label in (compact(label.reshape(label.shape[0], *grouped[1:3], *label.shape[2:])) for label in labels)
    }
    keep_blocks(units, coordinates, frozenset(range(2, rank + 1)))
    units.uses.extend(coordinates.values())
    return batch_norm(units, {**arguments, "input": value}, shapes) if by_channel else [value]
