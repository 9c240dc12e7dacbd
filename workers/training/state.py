"""Everything that a training step reads and changes: to checkpoint it, and to try a step from it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class TrainingState:
    """A network, its optimizer, the epoch's sums and, where the network draws from them, torch's global generators.

    All tensors stay where they are: putting a state back writes into them. Fused optimizers walk parameter and moment
    by address in one memory layout, and a captured step reads and writes at the addresses it was captured with.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor, *, generators: bool) -> None:
        self.model, self.optimizer, self.sums = model, optimizer, sums
        self._generators = generators

    def tensors(self) -> dict[str, Tensor]:
        """The tensors themselves, by name."""
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
        """The tensors with the generators' states, to be read before the next step."""
        return {**self.tensors(), **self._generator_states()}

    def finite(self) -> bool:
        """Whether the parameters and sums are; waits for the device."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return all(bool(tensor.isfinite().all()) for tensor in (self.sums, *parameters))

    @torch.no_grad()
    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Put a packed state back."""
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
