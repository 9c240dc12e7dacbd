"""Everything that a training step reads and changes, for checkpoints and for trial steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class TrainingState:
    """A network, its optimizer, the epoch's sums and, if the network draws from them, torch's global generators.

    Tensors keep their addresses: ``unpack`` writes into them. Fused optimizers walk parameters and moments by address
    in one memory format, and a captured step reads and writes at the addresses of its capture.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor, *, generators: bool) -> None:
        self.model, self.optimizer, self.sums = model, optimizer, sums
        self._generators = generators

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
        return {**network, **moments, "sums": self.sums}

    def packed(self) -> dict[str, Tensor]:
        """The tensors and the states of the generators; copy them before the next step changes them."""
        return {**self.tensors(), **self._generator_states()}

    def finite(self) -> bool:
        """Whether all parameters and sums are finite; waits for the device."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return all(bool(tensor.isfinite().all()) for tensor in (self.sums, *parameters))

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

    def _generator_states(self) -> dict[str, Tensor]:
        if not self._generators:
            return {}
        states = {"generator": torch.random.get_rng_state()}
        if self.sums.is_cuda:
            states["cuda_generator"] = torch.cuda.get_rng_state(self.sums.device)
        return states
