"""Keep pruned weights at exactly zero: mask their gradients before each step and their values after it.

The result equals ``weight * mask`` in every forward pass bit for bit, without a copy of the weights in the graph.
Masking the gradients also keeps momentum and Adam's moments of pruned weights at zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Masking:
    """The masks of a model's prunable weights. With no masks, all methods do nothing.

    Attributes:
        by_name: each mask as a tensor of its weight's type, 1 for alive; what changes it in place changes the masking.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        self._weights = [parameters[name] for name in masks]
        self.by_name = {name: torch.empty_like(parameters[name]).copy_(mask) for name, mask in masks.items()}
        self._masks = list(self.by_name.values())

    @torch.no_grad()
    def mask_gradients_(self) -> None:
        """Zero the gradients of pruned weights."""
        if self._masks:
            pairs = zip(self._weights, self._masks, strict=True)
            graded = [(weight.grad, mask) for weight, mask in pairs if weight.grad is not None]
            torch._foreach_mul_(tuple(grad for grad, _ in graded), tuple(mask for _, mask in graded))

    @torch.no_grad()
    def mask_weights_(self) -> None:
        """Zero the pruned weights."""
        if self._masks:
            torch._foreach_mul_(tuple(self._weights), tuple(self._masks))
