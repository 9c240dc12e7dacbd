"""A small network, its tickets under any mask, and its training by any optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

import tickets
from tickets import Provenance, Ticket

PROVENANCE = Provenance("tiny", "net", "aws", 3, 0.5, "sound", "k")
MASKED = ("0.weight", "3.weight")
SHAPES = {"0.weight": (5, 4), "3.weight": (6, 5)}
SIZE = 50


def network(seed: int = 0, classes: int = 3) -> nn.Sequential:
    """Two prunable layers with a normalization between them, and a classifier."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, classes))


def ticket_under(masks: dict[str, Tensor] | None = None) -> Ticket:
    """A ticket of the network; every other weight survives unless ``masks`` is given."""
    masks = masks or {name: torch.arange(a * b).view(a, b) % 2 == 0 for name, (a, b) in SHAPES.items()}
    model = network(9)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    return tickets.from_model(model, masks, 3, PROVENANCE)


def batches(count: int, size: int = 8) -> Iterator[tuple[Tensor, Tensor]]:
    stream = torch.Generator().manual_seed(4)
    for _ in range(count):
        yield torch.randn(size, 4, generator=stream), torch.randint(3, (size,), generator=stream)


def train_step(
    forward: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], optimizer: Optimizer, x: Tensor, y: Tensor
) -> None:
    """One step with a clipped gradient norm, as a closure, which all of torch's optimizers accept."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(forward(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
