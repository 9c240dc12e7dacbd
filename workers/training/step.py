"""One training step in device operations only: run eagerly on a CPU, captured as a CUDA graph on a GPU.

No operation waits for the host, and values that change between steps come in as tensors. So the operations of one
step, recorded, are the operations of every step on a batch of that size.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.data.splits import Splits
from workers.pruning.masking import Masking
from workers.stages import Optimizer
from workers.training.compiled import compile_forward
from workers.training.gang.member import Reduction
from workers.training.psi import PsiInterpolation
from workers.training.rules.optimizers import BUILT_IN, check_state, registered_optimizer
from workers.training.rules.regulariser import Penalty
from workers.training.rules.reparametrisation import Factors


class Step:
    """Forward, loss, backward, update, mask. Sums of the loss and of correct answers stay on the device.

    Args:
        interpolation: AWS: interpolate psi by alpha in the forward pass.
        compiled: run the forward pass through torch.compile.
        reduction: in a gang, turns this rank's gradients and sums into those of the whole batch.
        penalty: adds a regulariser's gradient.
        factors: what the optimizer trains in place of the prunable weights.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        masking: Masking,
        interpolation: PsiInterpolation | None,
        splits: Splits,
        *,
        compiled: bool = False,
        reduction: Reduction | None = None,
        penalty: Penalty | None = None,
        factors: Factors | None = None,
    ) -> None:
        self._optimizer, self._masking, self._reduction, self._splits = optimizer, masking, reduction, splits
        self._penalty, self._factors = penalty, factors
        self.sums = torch.zeros(2, dtype=torch.float64, device=splits.device)
        forward = interpolation or (lambda images, alpha: model(images))
        if compiled:
            forward = compile_forward(forward, splits.device)
        self._forward = forward

    def __call__(self, images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        """Take a step.

        Args:
            images: uint8 (batch, channels, height, width).
            labels: int64 (batch,).
            alpha: 0-d; unused without interpolation.
        """
        self.differentiate(images, labels, alpha)
        if self._penalty:
            self._penalty.add_gradients_()
        self._masking.mask_gradients_()
        if self._factors:
            self._factors.pull_back_()
        self._optimizer.step()
        if self._factors:
            self._factors.set_weights_()
        self._masking.mask_weights_()

    def differentiate(self, images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        """Compute the loss's gradients with respect to all parameters, pruned weights too, and add to the sums."""
        with self._splits.autocast():
            logits = self._forward(self._splits.normalized(images), alpha)
            loss = F.cross_entropy(logits, labels, reduction="sum" if self._reduction else "mean")
        self._optimizer.zero_grad()
        if self._factors:
            self._factors.zero_grad()
        loss.backward()
        correct = (logits.detach().argmax(1) == labels).sum()
        if self._reduction:
            self.sums += self._reduction(torch.stack((loss.detach(), correct)), len(labels))
        else:
            self.sums += torch.stack((loss.detach() * len(labels), correct))


def make_optimizer(model: nn.Module, spec: Optimizer, factors: Factors | None = None) -> torch.optim.Optimizer:
    """Make an optimizer over all parameters, with its state allocated; weight decay is L2 in the gradient.

    On a GPU the learning rate is a tensor there, so that a captured step reads the epoch's rate.

    Args:
        factors: are trained in place of the weights that they make.
    """
    replaced = factors.by_weight if factors else {}
    parameters = [each for name, own in model.named_parameters() for each in replaced.get(name, [own])]
    optimizer: torch.optim.Optimizer
    if spec.name not in BUILT_IN:
        optimizer = registered_optimizer(spec, parameters)
    elif spec.name == "adam":
        optimizer = torch.optim.Adam(
            parameters, lr=0.0, weight_decay=spec.weight_decay, fused=True, capturable=parameters[0].is_cuda
        )
    else:
        optimizer = torch.optim.SGD(
            parameters, lr=0.0, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=True
        )
    _allocate_state(optimizer, parameters, spec)
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


def _allocate_state(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], spec: Optimizer) -> None:
    """Allocate momentum and moments as zeros, by a step at rate 0, so that the first real step equals all others."""
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    if spec.name not in BUILT_IN:
        check_state(spec, optimizer)
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()


class TrainingState:
    """What a step reads and changes: network, optimizer, sums and, if the network draws, torch's global generators.

    Tensors keep their addresses: ``unpack`` writes into them. Fused optimizers walk parameters and moments by address
    in one memory format, and a captured step reads and writes at the addresses of its capture.

    Args:
        more: further tensors by name, such as factors of weights, and masks that change.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sums: Tensor,
        *,
        generators: bool,
        more: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        self.model, self.optimizer, self.sums = model, optimizer, sums
        self._generators, self._more = generators, more

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, not copied."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        moments = {
            f"optimizer.{index}.{name}": value
            for index, parameter in enumerate(parameters)
            for name, value in self.optimizer.state[parameter].items()
            if isinstance(value, Tensor)
        }
        network = {f"model.{name}": tensor for name, tensor in self.model.state_dict(keep_vars=True).items()}
        return {**network, **moments, **self._more, "sums": self.sums}

    def packed(self) -> dict[str, Tensor]:
        """The tensors and the states of the generators; copy them before the next step changes them."""
        packed = self.tensors()
        if self._generators:
            packed["generator"] = torch.random.get_rng_state()
            if self.sums.is_cuda:
                packed["cuda_generator"] = torch.cuda.get_rng_state(self.sums.device)
        return packed

    def finite(self) -> bool:
        """Whether all parameters and sums are finite; waits for the device."""
        return all(bool(tensor.isfinite().all()) for tensor in (self.sums, *self.model.parameters()))

    @torch.no_grad()
    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Restore a packed state."""
        for name, tensor in self.tensors().items():
            tensor.copy_(packed[name])
        if self._generators:
            torch.random.set_rng_state(packed["generator"].cpu())
            if self.sums.is_cuda and "cuda_generator" in packed:
                torch.cuda.set_rng_state(packed["cuda_generator"].cpu(), self.sums.device)

    def seed_generators(self, seed: int) -> None:
        """Seed the global generators, if the network draws from them."""
        if self._generators:
            torch.manual_seed(seed)
