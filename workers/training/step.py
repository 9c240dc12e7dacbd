"""One training step as device operations only: what is run eagerly on a CPU is captured as a graph on a GPU.

Nothing in it waits for the host, and what changes from step to step comes in as tensors. So its operations, recorded
once, are the operations of every step on a batch of that size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.data.splits import Splits
from workers.devices.precision import autocast
from workers.pruning.masking import Masking
from workers.stages import Optimizer, Precision
from workers.training.gang.reduction import Exchange
from workers.training.psi import PsiInterpolation

PROGRAMS = 256  # compiled in one process


class Step:
    """Forward, loss, backward, update, mask; sums of the loss and of the right answers stay on the device.

    Args:
        interpolation: AWS; the forward pass then sees psi interpolated by alpha.
        compiled: run the forward pass through torch.compile.
        exchange: in a gang, what turns this rank's part of the batch into the whole.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        masking: Masking,
        interpolation: PsiInterpolation | None,
        splits: Splits,
        precision: Precision,
        *,
        compiled: bool = False,
        exchange: Exchange | None = None,
    ) -> None:
        self._exchange = exchange
        self._model, self._optimizer, self._masking = model, optimizer, masking
        self._normalized, self._device, self._precision = splits.normalized, splits.device, precision
        self.sums = torch.zeros(2, dtype=torch.float64, device=splits.device)
        forward = interpolation or (lambda images, alpha: model(images))
        if compiled:
            # past the limit torch would run eagerly without a word, and round otherwise
            torch._dynamo.config.recompile_limit = PROGRAMS
            torch._dynamo.config.fail_on_recompile_limit_hit = True
            forward = torch.compile(forward, dynamic=False)  # one program for full batches, one for the tail
        self._forward = forward

    def __call__(self, images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        """Take a step.

        Args:
            images: uint8 (batch, channels, height, width).
            labels: int64 (batch,).
            alpha: 0-d; read under AWS only.
        """
        with autocast(self._device, self._precision):
            logits = self._forward(self._normalized(images), alpha)
            loss = F.cross_entropy(logits, labels, reduction="sum" if self._exchange else "mean")
        self._optimizer.zero_grad()
        loss.backward()
        right = (logits.detach().argmax(1) == labels).sum()
        if self._exchange:
            self.sums += self._exchange(torch.stack((loss.detach(), right)), len(labels))
        else:
            self.sums += torch.stack((loss.detach() * len(labels), right))
        self._masking.mask_gradients_()
        self._optimizer.step()
        self._masking.mask_weights_()


def make_optimizer(model: nn.Module, spec: Optimizer) -> torch.optim.Optimizer:
    """A new optimizer over all parameters, with its state in place; weight decay is L2 in the gradient for both kinds.

    On a GPU the learning rate is a tensor there, so that a captured step reads the epoch's.
    """
    parameters = list(model.parameters())
    optimizer: torch.optim.Optimizer
    if spec.name == "adam":
        optimizer = torch.optim.Adam(
            parameters, lr=0.0, weight_decay=spec.weight_decay, fused=True, capturable=parameters[0].is_cuda
        )
    else:
        optimizer = torch.optim.SGD(
            parameters, lr=0.0, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=True
        )
    _allocate_state(optimizer, parameters)
    if parameters[0].is_cuda:
        for group in optimizer.param_groups:
            group["lr"] = torch.zeros((), device=parameters[0].device)
    set_learning_rate(optimizer, spec.learning_rate)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _allocate_state(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Momentum and moments as zeros, by a step at rate 0: the first real step is then like every other."""
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()
