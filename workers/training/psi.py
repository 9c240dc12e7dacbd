"""The interpolation of AWS: in training, every forward pass interpolates psi towards its initialisation.

    scale = alpha * 1 + (1 - alpha) * gamma,      shift = (1 - alpha) * beta

The interpolation is part of the autograd graph, so the gradient of gamma and beta carries the factor (1 - alpha). The
parameters are never overwritten, which would collapse psi to its initialisation. Paper, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from scipy.special import betaincinv
from torch import Tensor, nn
from torch.func import functional_call

from tickets.roles import is_normalization
from workers.stages import Alpha


def psi_names(model: nn.Module) -> dict[str, float]:
    """Names of all scales and shifts of normalization layers, with their initial values: 1 and 0."""
    names: dict[str, float] = {}
    for layer, module in model.named_modules():
        if is_normalization(module):
            for leaf, _ in module.named_parameters(recurse=False):
                names[f"{layer}.{leaf}" if layer else leaf] = 1.0 if leaf == "weight" else 0.0
    return names


def draw_alphas(distribution: Alpha, batches: int, stream: torch.Generator) -> Tensor:
    """Draw one alpha per batch of an epoch, by the distribution's quantile function of the stream's uniform draws.

    Returns:
        float32 of shape (batches,) on the CPU, in [0, 1].
    """
    uniform = torch.rand(batches, generator=stream)
    first, second = distribution.parameters
    if distribution.name == "beta":
        return torch.from_numpy(betaincinv(first, second, uniform.double().numpy())).float()
    return (first + (second - first) * uniform).clamp_(first, second)  # (0, 1) leaves the draws unchanged


def interpolated(psi: Sequence[Tensor], initial: Tensor, alpha: Tensor) -> list[Tensor]:
    """Interpolate all tensors at once: alpha * initial + (1 - alpha) * psi, differentiable in psi.

    One operation for all layers, since a network of small tensors is bound by the number of its operations.

    Args:
        psi: tensors of any shapes; at least one.
        initial: their initial values, flat and one after another: shape (elements of psi,).
        alpha: 0-d tensor in [0, 1] on psi's device, shared by all layers of a batch. A Python float would force a new
            compilation or capture in each step.

    Returns:
        Tensors of psi's shapes.
    """
    flat = torch.lerp(_flat(psi), initial, alpha)
    parts = flat.split([tensor.numel() for tensor in psi])
    return [part.view(tensor.shape) for part, tensor in zip(parts, psi, strict=True)]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors]) if tensors else torch.empty(0)


class PsiInterpolation:
    """Calls a model with interpolated psi, without patching the model or changing its parameters."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        parameters = dict(model.named_parameters())
        values = psi_names(model)
        self._psi = {name: parameters[name] for name in values}
        self._initial = _flat([torch.full_like(parameters[name], value) for name, value in values.items()])

    def __call__(self, images: Tensor, alpha: Tensor) -> Tensor:
        """Logits of a batch under one alpha for all normalization layers."""
        if not self._psi:
            return cast(Tensor, self._model(images))
        mixed = interpolated([*self._psi.values()], self._initial, alpha)
        return functional_call(self._model, dict(zip(self._psi, mixed, strict=True)), (images,))
