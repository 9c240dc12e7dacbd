"""A ticket in a network that torch.compile compiles."""

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy

from tests.tickets.use.own_training import batches, network, ticket_under, train_step
from tickets import MaskGuard


def trained_plainly() -> list[Tensor]:
    """The parameters after three steps of an optimizer that mixes the elements of its matrices."""
    model = network()
    kept = ticket_under().apply(model, seed=1)
    train(model, model, kept)
    return list(model.parameters())


def train(forward: nn.Module, model: nn.Module, kept: MaskGuard) -> None:
    optimizer = kept.guard(optim.Muon([weight for weight in model.parameters() if weight.dim() == 2], lr=0.05))
    for x, y in batches(3):
        train_step(forward, list(model.parameters()), optimizer, x, y)
        assert kept.check() == 0.5


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
@pytest.mark.parametrize("compiled_first", [False, True])
def test_a_compiled_network_trains_as_the_plain_one(backend: str, compiled_first: bool) -> None:
    torch.compiler.reset()
    model = network()
    if compiled_first:
        compiled = torch.compile(model, backend=backend, fullgraph=True)
        kept = ticket_under().apply(compiled, seed=1)
    else:
        kept = ticket_under().apply(model, seed=1)
        compiled = torch.compile(model, backend=backend, fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        train(compiled, model, kept)
    for mine, theirs in zip(model.parameters(), trained_plainly(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_hooks_that_come_after_the_first_compiled_step_are_run() -> None:
    torch.compiler.reset()
    model = network()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    kept = ticket_under().apply(model, seed=1)
    cross_entropy(compiled(torch.ones(8, 4)), torch.zeros(8, dtype=torch.int64)).backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        train(compiled, model, kept)
    assert model[0].weight.grad is not None
    assert not model[0].weight.grad[~kept.masks["0.weight"]].any()
