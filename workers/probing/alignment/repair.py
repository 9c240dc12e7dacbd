"""REPAIR: give a network between two others activations of the statistics in between (Jordan et al. 2023)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from tickets.roles import BATCH_NORM, MASKED_LAYERS

STATISTICS = "repair"
"""Name of the module that a corrected layer gets."""


class Statistics(nn.BatchNorm1d):
    """Statistics of a layer's outputs by channel, as batch norm keeps them.

    Args:
        channels: number of channels.
        axis: number of their axis in the outputs.
        corrects: whether outputs are normalised, and not only measured.
    """

    def __init__(self, channels: int, axis: int, corrects: bool) -> None:
        super().__init__(channels)
        self.axis, self.corrects = axis, corrects

    def forward(self, x: Tensor) -> Tensor:
        """Measure outputs in training mode, and correct them if this is asked for; the shape stays."""
        by_channel = x.movedim(self.axis, 1)
        rows = by_channel.flatten(2) if by_channel.dim() > 2 else by_channel
        normalized = super().forward(rows).reshape(by_channel.shape).movedim(1, self.axis)
        return normalized if self.corrects else x

    @property
    def deviation(self) -> Tensor:
        """Standard deviation by channel, as normalisation uses it."""
        assert self.running_var is not None
        return (self.running_var + self.eps).sqrt()


def needs_repair(model: nn.Module) -> bool:
    """Whether a network has no batch norm, whose re-estimated statistics are REPAIR already (section 4.2)."""
    return not any(isinstance(module, BATCH_NORM) for module in model.modules())


def beyond_layers(model: nn.Module, names: Iterable[str]) -> list[str]:
    """The weights that no convolution or linear layer applies itself, such as the projections of attention."""
    attention = tuple(f"{name}." for name, each in model.named_modules() if isinstance(each, nn.MultiheadAttention))
    return [
        name
        for name in names
        if name.startswith(attention)
        or not name.endswith(".weight")
        or not isinstance(model.get_submodule(name.removesuffix(".weight")), MASKED_LAYERS)
    ]


def unmeasured(model: nn.Module, layers: Iterable[str]) -> list[str]:
    """The layers of ``with_statistics`` that have seen no batch, because the network does not call them."""
    statistics = {name: model.get_submodule(f"{name}.{STATISTICS}") for name in layers}
    return [name for name, each in statistics.items() if not int(each.get_buffer("num_batches_tracked"))]


def with_statistics(model: nn.Module, layers: Collection[str], *, corrects: bool) -> nn.Module:
    """A copy of a network whose layers measure their outputs, or correct them.

    Args:
        layers: names of convolutions and linear layers, such as all but the classifier.
    """
    model = copy.deepcopy(model)
    for name in layers:
        layer = model.get_submodule(name)
        assert isinstance(layer, MASKED_LAYERS)
        axis = -1 if isinstance(layer, nn.Linear) else 1
        statistics = Statistics(layer.weight.shape[0], axis, corrects).to(layer.weight.device)
        layer.add_module(STATISTICS, statistics.train(model.training))
        layer.register_forward_hook(_through_statistics)
    return model


def _through_statistics(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    corrected: Tensor = layer.get_submodule(STATISTICS)(output)
    return corrected


def corrected_state(
    between: Mapping[str, Tensor], a: nn.Module, b: nn.Module, layers: Collection[str], weight: float
) -> dict[str, Tensor]:
    """The state of a corrected network at a place of the path: means and deviations are those of a and b, mixed.

    The corrected network's own statistics are to be re-estimated before use.

    Args:
        between: state dict of the network at this place.
        a, b: the ends, whose layers have measured their outputs.
        weight: share of a, lambda.
    """
    state = dict(between)
    for name in layers:
        of_a, of_b = (each.get_submodule(f"{name}.{STATISTICS}") for each in (a, b))
        assert isinstance(of_a, Statistics)
        assert isinstance(of_b, Statistics)
        prefix = f"{name}.{STATISTICS}."
        state |= {prefix + key: tensor for key, tensor in of_a.state_dict().items()}
        state[f"{prefix}weight"] = torch.lerp(of_b.deviation, of_a.deviation, weight)
        state[f"{prefix}bias"] = torch.lerp(_mean(of_b), _mean(of_a), weight)
    return state


def _mean(statistics: Statistics) -> Tensor:
    assert statistics.running_mean is not None
    return statistics.running_mean
