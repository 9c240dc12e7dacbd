"""Trace a network's permutation symmetries: run it once, and follow units through every operation of the run."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from workers.probing.alignment import movements  # noqa: F401  # registers its rules
from workers.probing.alignment.convolution import grouped_weight
from workers.probing.alignment.graph import Axis, PermutationGraph, Reading
from workers.probing.alignment.groups import exchangeable
from workers.probing.alignment.rules import Arguments, find_rule, tensors
from workers.probing.alignment.units import FIXED, Units
from workers.probing.alignment.values import Value, separated
from workers.stages.execution import StageError

READERS = ("linear", "conv1d", "conv2d", "conv3d", "matmul", "bmm", "mm", "einsum", "scaled_dot_product_attention")
CHECKED_WITHIN, CHECKED_WITHIN_ON_DEVICES = 1e-4, 4e-3
"""Of the outputs' spread: for float32, and where convolutions may round to TF32's 10 bits, as torch lets GPUs do (which
moves ResNet-20's outputs by 2e-4, VGG-16's by 4e-4). One axis left out moves ResNet-20's by at least 1.6e-2, ViT-tiny's
by 9e-3."""
_TRACER = threading.Lock()  # make_fx keeps its tracer in a variable of its module


def trace_permutations(model: nn.Module, image: Tensor) -> PermutationGraph:
    """Find the permutation symmetries of a network, and check them on random weights.

    An axis moves only if every operation that its units meet has a rule that lets them. What has no rule stays fixed,
    with the reason in ``fixed``.

    Args:
        model: the network; it is run in evaluation mode and not changed.
        image: a batch of one image, float32 (1, channels, height, width), on the model's device.

    Raises:
        StageError: the network cannot be run like this, or a permuted copy of it computes another function.
    """
    kept = model.state_dict().keys()  # a buffer that is not in it is a constant, which permuted copies share
    every = {name: tensor.detach() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    state = {name: tensor for name, tensor in every.items() if tensor.is_floating_point() and name in kept}
    names = tuple(state)

    def run(values: Sequence[Tensor], batch: Tensor) -> Any:
        return functional_call(model, dict(zip(names, values, strict=True)), (batch,))

    try:
        with _evaluating(model), torch.no_grad(), _TRACER:
            traced = make_fx(run, pre_dispatch=True)([*state.values()], image)
    except Exception as error:
        raise StageError(f"{type(model).__name__} cannot be traced for its permutations: {error}") from error
    graph = _followed(traced, state)
    _check(graph, state, image)
    return graph


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _followed(traced: fx.GraphModule, state: Mapping[str, Tensor]) -> PermutationGraph:
    """Follow the units of a traced run's parameters."""
    units, values, readings = Units(), dict[fx.Node, Any](), list[Reading]()
    nodes = iter(traced.graph.nodes)
    parameters: dict[str, Value] = {}
    for name in state:
        node = next(nodes)
        parameters[name] = values[node] = _parameter(units, node)
    inputs = {next(nodes)}
    values |= {node: Value(tuple(node.meta["val"].shape)) for node in inputs}
    given = {*values}
    for node in nodes:
        if node.op == "output":
            for each in tensors({"outputs": fx.node.map_arg(node.args[0], values.__getitem__)}):
                for label in each.coordinates:
                    units.fix(label, "an output of the network")
        elif node.target is operator.getitem:
            values[node] = values[node.args[0]][node.args[1]]
        elif node.op == "get_attr":
            values[node] = Value(tuple(getattr(traced, node.target).shape))
        else:
            arguments = _arguments(node, values)
            if any(node.target._schema.name == f"aten::{name}" for name in READERS):
                read = [each for each in node.all_input_nodes if each not in given]
                readings += [Reading(each.name, label) for each in read for label in values[each].coordinates]
            shapes = _shapes(node)
            results = [separated(units, each) for each in find_rule(node.target)(units, arguments, shapes)]
            values[node] = results if isinstance(node.meta["val"], list | tuple) else results[0]
    return _graph(units, parameters, readings, traced)


def _parameter(units: Units, node: fx.Node) -> Value:
    """A parameter's labels: a unit for each index of each axis; none if no operation reads it."""
    shape = tuple(node.meta["val"].shape)
    groups = {
        _arguments(user, {}).get("groups", 1) for user in node.users if isinstance(user.target, torch._ops.OpOverload)
    }
    if not node.users:
        return Value(shape)
    if len(shape) > 2 and shape[1] > 1 and len(groups) == 1 and max(groups) > 1:
        labels = list(grouped_weight(units, shape, max(groups)))
    else:
        labels = []
        for axis, size in enumerate(shape):
            if size > 1:
                ones = [1] * len(shape)
                ones[axis] = size
                labels.append(units.fresh(*ones))
    units.uses.extend(labels)
    return Value(shape, tuple(labels))


def _arguments(node: fx.Node, values: Mapping[fx.Node, Any]) -> Arguments:
    """An operation's arguments by the operator's names for them."""
    assert isinstance(node.target, torch._ops.OpOverload)
    names = [argument.name for argument in node.target._schema.arguments]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return {name: fx.node.map_arg(item, lambda each: values.get(each)) for name, item in given.items()}


def _shapes(node: fx.Node) -> list[tuple[int, ...]]:
    value = node.meta["val"]
    return [tuple(each.shape) for each in (value if isinstance(value, list | tuple) else [value])]


def _graph(
    units: Units, parameters: Mapping[str, Value], readings: Sequence[Reading], traced: fx.GraphModule
) -> PermutationGraph:
    raw = [_axis(name, label) for name, value in parameters.items() for label in value.coordinates]
    axes = [replace(axis, units=units.find(axis.units)) for axis in raw]
    movable = {unit for axis in axes for unit in axis.units.flatten().tolist()}
    groups = tuple(exchangeable(units, movable))
    moving = torch.cat([torch.tensor([FIXED]), *(group.units for group in groups)])
    fixed = {
        (axis.name, axis.axis): units.reason(born.units)
        for born, axis in zip(raw, axes, strict=True)
        if not bool(torch.isin(axis.units[axis.units != FIXED], moving).all()) or bool((axis.units == FIXED).all())
    }
    moved = [replace(axis, units=axis.units * torch.isin(axis.units, moving)) for axis in axes]
    moved = [axis for axis in moved if bool((axis.units != FIXED).any())]
    read = [Reading(each.node, units.find(each.units)) for each in readings]
    names = tuple(parameters)
    return PermutationGraph(units.count, groups, tuple(moved), fixed, tuple(read), traced, names)


def _axis(name: str, label: Tensor) -> Axis:
    """A label of a parameter along one axis, in blocks of rows for the inputs of a grouped convolution."""
    *_, axis = (axis for axis, size in enumerate(label.shape) if size > 1)
    if label.numel() == label.shape[axis]:
        return Axis(name, axis, label.reshape(1, -1))
    return Axis(name, axis, label.flatten(1).unique_consecutive(dim=0))


def _check(graph: PermutationGraph, state: Mapping[str, Tensor], image: Tensor) -> None:
    """Compare a network of random weights with a permuted copy; StageError if their outputs differ."""
    stream = torch.Generator().manual_seed(0)

    def draw(name: str, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=stream)
        if tensor.dim() > 1:
            return noise / max(1, tensor[0].numel()) ** 0.5
        return 1 + 0.2 * noise.abs()  # of a vector: scales and variances are positive

    drawn = {name: draw(name, tensor).to(tensor) for name, tensor in state.items()}
    batch = torch.randn(image.shape, generator=stream).to(image)
    moved = graph.permuted(drawn, graph.drawn(stream))
    with torch.no_grad():
        one, other = (graph.run([*each.values()], batch) for each in (drawn, moved))
    spread = one.std() + 1e-12
    within = CHECKED_WITHIN if image.device.type == "cpu" else CHECKED_WITHIN_ON_DEVICES
    if not bool(((one - other).abs().max() / spread) < within):
        raise StageError(
            "a permuted copy of this network computes another function, so its traced permutations are wrong; please "
            "report its architecture"
        )
