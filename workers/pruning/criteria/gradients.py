"""Gradient-based criteria, for pruning at initialisation."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tickets.roles import BATCH_NORM
from workers.devices.randomness import exclusive_generators
from workers.pruning.criteria.registry import Candidate, criterion

SNIP_BATCHES = 10


@criterion("snip")
def snip(candidate: Candidate) -> dict[str, Tensor]:
    """SNIP: score each weight by |gradient * weight|, its effect on the loss (Lee et al. 2019, equation 4)."""
    model = candidate.model.train()
    sums = {name: torch.zeros_like(weight) for name, weight in candidate.weights.items()}
    with exclusive_generators(candidate.splits.device):  # dropout draws from them
        torch.manual_seed(candidate.generator("dropout").initial_seed())
        for images, labels in candidate.batches(SNIP_BATCHES):
            if len(labels) < 2:  # a batch of one has no variance
                continue
            gradients = _gradients(F.cross_entropy(model(images), labels), model, sums)
            for name, gradient in gradients.items():
                sums[name] += gradient
    return {name: (total * candidate.weights[name]).abs() for name, total in sums.items()}


@criterion("synflow")
def synflow(candidate: Candidate) -> dict[str, Tensor]:
    """SynFlow: score each weight by the flow through it, without data (Tanaka et al. 2020, equation 2)."""
    model = candidate.model.double().eval()  # products over all layers overflow float32
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        for module in model.modules():
            if isinstance(module, BATCH_NORM):
                module.reset_running_stats()
    ones = torch.ones_like(candidate.splits.blank(1)).double()
    gradients = _gradients(model(ones).sum(), model, candidate.masks)
    return {name: (gradient * model.get_parameter(name).detach()).abs() for name, gradient in gradients.items()}


def _gradients(value: Tensor, model: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in names}
    gradients = torch.autograd.grad(value, list(parameters.values()))
    return {name: gradient.detach() for name, gradient in zip(parameters, gradients, strict=True)}
